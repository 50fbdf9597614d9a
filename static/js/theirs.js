// What the page had under that name before ours came; see sdk.js, which imports this first.

export const theirs = globalThis.Centrifuge;
