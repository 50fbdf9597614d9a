// Numbers, times and sizes as people read them; realtime/web/format.py says the same for the first rendering.

/** The page's language, if browsers know it. */
function localeOf(lang) {
  try {
    return Intl.getCanonicalLocales(lang)[0] ?? "en";
  } catch {
    return "en";
  }
}

export const locale = localeOf(document.documentElement.lang || "en");
const upTo = (digits) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits });
const [two, three] = [upTo(2), upTo(3)];
const small = new Intl.NumberFormat(locale, { maximumSignificantDigits: 4 });
const scientific = new Intl.NumberFormat(locale, { notation: "scientific", maximumFractionDigits: 4 });
const full = new Intl.DateTimeFormat(locale, {
  ...{ year: "numeric", month: "short", day: "numeric" },
  ...{ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
});

/** 1,234,567 · 67,123.45 · 1.235 · 0.0123 · 1.2E15 */
export function number(value) {
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return scientific.format(value);
  if (size >= 100) return two.format(value);
  return (size >= 1 ? three : small).format(value);
}

/** A span in its largest unit: 3 s, 5 min, 7 h, 12 d. */
function span(seconds) {
  const whole = Math.max(0, Math.trunc(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.trunc(whole / 60)} min`;
  if (whole < 48 * 3600) return `${Math.trunc(whole / 3600)} h`;
  return `${Math.trunc(whole / 86400)} d`;
}

/** `moment` and `now` in milliseconds. */
export function ago(moment, now = Date.now()) {
  const seconds = (now - moment) / 1000;
  return seconds < 1 ? "now" : `${span(seconds)} ago`;
}

export function until(moment, now = Date.now()) {
  const seconds = (moment - now) / 1000;
  return seconds < 1 ? "now" : `in ${span(seconds)}`;
}

/** The full moment in the reader's own time zone. */
export const moment = (milliseconds) => full.format(milliseconds);

export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1e6) return `${number(Math.round(bytes / 100) / 10)} KB`;
  return `${number(Math.round(bytes / 1e5) / 10)} MB`;
}
