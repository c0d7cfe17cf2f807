/**
 * The functions of newer runtimes that vitest 5 uses and Node 20 lacks. Without them its run ends, instead of with the
 * failures, in a failure to print them. `vitest.config.ts` imports this; nothing of the product needs it.
 */

/**
 * @param {Iterable<unknown>} items
 * @param {(item: unknown, index: number) => unknown} keyOf
 */
function groupBy(items, keyOf) {
  const groups = new Map();
  let index = 0;
  for (const item of items) {
    const key = keyOf(item, index++);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

function withResolvers() {
  let resolve;
  let reject;
  const promise = new Promise((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

/** @type {[object, string, unknown][]} */
const MISSING = [
  [Map, "groupBy", groupBy],
  [
    Object,
    "groupBy",
    /** @type {typeof groupBy} */ (items, keyOf) =>
      Object.assign(Object.create(null), Object.fromEntries(groupBy(items, keyOf))),
  ],
  [Promise, "withResolvers", withResolvers],
];

for (const [owner, name, value] of MISSING) {
  if (!(name in owner)) Object.defineProperty(owner, name, { value, writable: true, configurable: true });
}
