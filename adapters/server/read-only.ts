/** Operations of a server that takes no writes. */
import { ServerFailure } from "./failure.ts";
import type { StoreOperations } from "./operations/store-operations.ts";

const WRITES = [
  "put",
  "delete",
  "patch",
  "patchIf",
  "increment",
  "incrementIf",
  "deleteRange",
] as const satisfies readonly (keyof StoreOperations)[];

/** `operations` whose writes are refused with 403, whatever the key may do. Reads stay as they are. */
export function withoutWrites(operations: StoreOperations): StoreOperations {
  const refuse = { value: () => Promise.reject(new ServerFailure(403, "The server takes no writes.")) };
  return Object.create(operations, Object.fromEntries(WRITES.map((name) => [name, refuse]))) as StoreOperations;
}
