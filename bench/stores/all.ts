/** Every store by the name that the command line knows. Only those that are asked for are loaded. */
import type { StoreKind } from "./store.ts";

const LOADERS: Record<string, () => Promise<StoreKind>> = {
  cairn: async () => (await import("./cairn.ts")).kind,
  lmdb: async () => (await import("./lmdb.ts")).kind,
  "lmdb-strict": async () => (await import("./lmdb.ts")).strictKind,
  "classic-level": async () => (await import("./classic-level.ts")).kind,
  map: async () => (await import("./map.ts")).kind,
};

/** The kind of that name. Throws when there is none. */
export async function kindOf(name: string): Promise<StoreKind> {
  const load = LOADERS[name.toLowerCase()];
  if (load === undefined) throw new Error(`there is no store "${name}"; there are ${Object.keys(LOADERS).join(", ")}`);
  return load();
}
