// The list of sources: only its times move.

import { startClock } from "./clock.js";

startClock();
