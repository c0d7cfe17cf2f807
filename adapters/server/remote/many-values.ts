/** The values of many keys, as many as an answer may hold, with few in memory at a time. */
import { CairnError } from "../../../store/error.ts";

/** Keys that are read first: values may have 64 MiB each. */
const COUNT_FIRST = 4;
const COUNT_MAX = 1024;
/** Bytes of values that are read at a time, as far as those before let expect. */
const SIZE_AT_ONCE = 4 * 1024 * 1024;

/** Reads portion by portion. `BATCH_SIZE` when the values have more than `sizeMax` bytes. */
export async function manyValues(
  keys: readonly Uint8Array[],
  read: (keys: Uint8Array[]) => Promise<(Uint8Array | undefined)[]>,
  sizeMax: number,
): Promise<(Uint8Array | undefined)[]> {
  const values: (Uint8Array | undefined)[] = [];
  let size = 0;
  let count = COUNT_FIRST;
  while (values.length < keys.length) {
    for (const value of await read(keys.slice(values.length, values.length + count))) {
      values.push(value);
      size += value?.length ?? 0;
    }
    if (size > sizeMax) {
      const message = `getMany: the values have more than the ${sizeMax} bytes that the server sends at once. Ask for fewer keys.`;
      throw new CairnError("BATCH_SIZE", "getMany", message);
    }
    const expected = Math.ceil(size / values.length) + 1;
    count = Math.max(1, Math.min(COUNT_MAX, count * 8, Math.floor(SIZE_AT_ONCE / expected)));
  }
  return values;
}
