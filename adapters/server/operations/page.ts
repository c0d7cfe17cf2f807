/** Pages of a range. */
import { sizeOf } from "../../../store/batch.ts";
import type { ServedPage, ServedRange, ServedRecord } from "../operations.ts";
import type { Faces } from "../tenants.ts";
import { RecordWalk } from "./walk.ts";

/** A page of a range, of what is there at the call. The first record is given even where it alone is larger than asked for. */
export async function pageOf(faces: Faces, range: ServedRange): Promise<ServedPage> {
  const { start, end, limit = Number.POSITIVE_INFINITY, sizeMax = Number.POSITIVE_INFINITY, overhead = 0 } = range;
  const { shows } = range;
  const records: ServedRecord[] = [];
  let size = 0;
  // One more than asked for, to know whether there is one.
  const walk = new RecordWalk(faces, { gte: start, lte: end, limit: shows === undefined ? limit + 1 : undefined });
  try {
    for (let record = await walk.next(); record !== undefined; record = await walk.next()) {
      if (shows !== undefined && !shows(record.key)) continue;
      if (records.length >= limit) return { records, truncated: true };
      size += sizeOf(record.key) + sizeOf(record.value) + overhead;
      if (size > sizeMax && records.length > 0) return { records, truncated: true };
      records.push(record);
    }
  } finally {
    walk.end();
  }
  return { records, truncated: false };
}
