/** What the crash panel and its worker tell each other, and the records that they agree on. */

/** All records of all runs start with it. */
export const CRASH_PREFIX = "crash:";

/** Bytes of each value. */
const VALUE_SIZE = 200;

/** What to write. */
export interface CrashOrder {
  /** Name of the store, which nobody else has open. */
  store: string;
  /** Records of this run start with it. */
  prefix: string;
}

/** What the worker says. */
export type CrashNews =
  | { type: "writing" }
  /** This record is on stable storage. */
  | { type: "acknowledged"; number: number }
  | { type: "failed"; reason: string };

/** Key of a record. */
export const crashKey = (prefix: string, number: number): string => `${prefix}${String(number).padStart(8, "0")}`;

/** Value of a record, different for each, so that a wrong one cannot pass for it. */
export function crashValue(prefix: string, number: number): string {
  const text = `${crashKey(prefix, number)} written before the crash `;
  return text.repeat(Math.ceil(VALUE_SIZE / text.length)).slice(0, VALUE_SIZE);
}
