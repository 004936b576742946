/** The worker of `ExpressionSearch`. */

import { matchingLines } from "./expressions.js";

addEventListener("message", ({ data: { source, flags, text } }) => postMessage(matchingLines(new RegExp(source, flags), text)));
