// Reads [[value before, message], …] and writes the values after, by the module that the first argument names.
import { readFileSync } from "node:fs";

const { valueAfter } = await import(process.argv[2]);
const cases = JSON.parse(readFileSync(0, "utf8"));
const values = cases.map(([before, message]) => {
  const asItWas = JSON.stringify(before);
  const value = valueAfter(before, message);
  if (JSON.stringify(before) !== asItWas) throw new Error(`changed: ${asItWas}`);
  return value;
});
process.stdout.write(JSON.stringify(values));
