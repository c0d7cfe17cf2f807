/** Reading all that a store holds, in the ways that must agree. */
import type { Store } from "../../store/store.ts";
import { Violation } from "./violation.ts";

/** Everything in a store and in namespaces of it. A scan, a look at each key and a count are held against each other. */
export function contentsOf(store: Store, namespaces: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  readFace(store, "", found);
  for (const name of namespaces) readFace(store.sub(name), `${name}:`, found);
  return found;
}

function readFace(
  face: Pick<Store, "entries" | "get" | "has" | "count">,
  prefix: string,
  found: Map<string, string>,
): void {
  let count = 0;
  let before = "";
  for (const [key, value] of face.entries()) {
    if (key <= before) throw new Violation(`a scan gives ${before} before ${key}`);
    before = key;
    if (face.get(key) !== value || !face.has(key)) throw new Violation(`${key}: get and a scan differ`);
    found.set(prefix + key, value);
    count++;
  }
  const counted = face.count();
  if (counted !== count) throw new Violation(`count is ${counted}, a scan gives ${count}`);
}
