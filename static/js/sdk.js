// The Centrifuge protocol's own client. Its build puts itself into the globals, where the page that we are
// embedded in may have one of its own: that one is put back.

import { theirs } from "./theirs.js";
import "../centrifuge/centrifuge.js";

export const { Centrifuge } = globalThis;

if (theirs) globalThis.Centrifuge = theirs;
else delete globalThis.Centrifuge;
