/**
 * What a writer does, from a seed: its operation of each number, the same on the page that does it and for who checks it. A value
 * names the operation that wrote it, and shows from any of its bytes whether it is whole.
 */
import { Random } from "../../store/random.ts";

/** A change of one key: to a value of so many characters, or its deletion. */
export interface Write {
  key: string;
  size: number | undefined;
}

/** One operation. Those that are durable are answered when they are on stable storage, and with them all before. */
export interface Operation {
  call: "put" | "set" | "del" | "delete" | "batch" | "commit" | "flush";
  isDurable: boolean;
  writes: Write[];
}

const KEY_COUNT = 150;
const BATCH_WRITES_MAX = 6;
const PATTERN = "The stones lie one upon the other, and the topmost shows the way. ";

/** The operation of a number, of the writer whose keys begin with `writer`. */
export function operationOf(seed: number, writer: string, index: number): Operation {
  const random = new Random(
    (Math.imul(seed ^ writer.charCodeAt(0), 0x9e37_79b1) ^ Math.imul(index, 0x85eb_ca6b)) >>> 0,
  );
  // The first draws of neighbouring seeds are alike.
  for (let i = 0; i < 4; i++) random.below(2);
  const key = (): string => `${writer}${random.below(KEY_COUNT)}`;
  const drawn = random.below(100);
  if (drawn < 40) return { call: "put", isDurable: true, writes: [{ key: key(), size: sizeOf(random) }] };
  if (drawn < 65) return { call: "set", isDurable: false, writes: [{ key: key(), size: sizeOf(random) }] };
  if (drawn < 72) return { call: "del", isDurable: true, writes: [{ key: key(), size: undefined }] };
  if (drawn < 78) return { call: "delete", isDurable: false, writes: [{ key: key(), size: undefined }] };
  if (drawn < 80) return { call: "flush", isDurable: true, writes: [] };
  const writes = new Map<string, Write>();
  for (let count = 2 + random.below(BATCH_WRITES_MAX - 1); count > 0; count--) {
    const write = { key: key(), size: random.chance(0.2) ? undefined : sizeOf(random) };
    writes.set(write.key, write);
  }
  const isDurable = drawn < 94;
  return { call: isDurable ? "batch" : "commit", isDurable, writes: [...writes.values()] };
}

/** The value of an operation's write. */
export function writtenValue(writer: string, index: number, size: number): string {
  const head = `${writer}${index} `;
  const start = index % PATTERN.length;
  return head + PATTERN.repeat(2 + size / PATTERN.length).slice(start, start + size);
}

/** The number of the operation that has written a value under a key; `undefined` for a value that none has written there. */
export function writtenBy(seed: number, key: string, value: string): number | undefined {
  const writer = key.slice(0, 1);
  const index = Number(value.slice(1, value.indexOf(" ")));
  if (!Number.isSafeInteger(index) || index < 0) return undefined;
  const write = operationOf(seed, writer, index).writes.find((one) => one.key === key);
  return write?.size !== undefined && value === writtenValue(writer, index, write.size) ? index : undefined;
}

function sizeOf(random: Random): number {
  const drawn = random.below(100);
  if (drawn < 80) return random.below(300);
  if (drawn < 95) return random.below(5000);
  return random.below(drawn < 99 ? 30_000 : 300_000);
}
