// <live-value feed="…"> and <live-chart feed="…"> on pages of any site: docs/embed.md.

import { LiveChart } from "./embed/livechart.js";
import { LiveValue } from "./embed/livevalue.js";

for (const [name, kind] of Object.entries({ "live-value": LiveValue, "live-chart": LiveChart })) {
  // The page may load this module from two addresses.
  if (!customElements.get(name)) customElements.define(name, kind);
}
