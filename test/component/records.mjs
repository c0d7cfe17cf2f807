/** Records that the component and its hosts write and read. */

/**
 * Key and value of record `i`: small and large values, empty ones, keys that are no text.
 *
 * @param {number} i
 * @param {string} mark
 * @returns {[Uint8Array, Uint8Array]}
 */
export function record(i, mark) {
  const key =
    i % 7 === 3
      ? Uint8Array.from([0, 255, i & 255, i >> 8])
      : new TextEncoder().encode(`key ${String(i).padStart(5, "0")}`);
  if (i % 11 === 5) return [key, new Uint8Array(0)];
  const size = i % 50 === 1 ? 300_000 : i % 10 === 2 ? 5_000 : 8 + (i % 90);
  const value = new Uint8Array(size);
  for (let at = 0; at < size; at++) value[at] = (at * 31 + i + mark.charCodeAt(0)) & 255;
  return [key, value];
}
