/** What of a changed keys file is told to the audit log. */
import type { Directory } from "./credentials.ts";

/** One change. */
export interface DirectoryChange {
  /** `key.added`, `key.revoked`, `key.rotated`, `key.changed`, and the same of `certificate`; `tenant.added`, `tenant.removed`. */
  event: string;
  /** The public id of the key or certificate. */
  key?: string;
  tenant?: string;
}

export function changesBetween(before: Directory, after: Directory): DirectoryChange[] {
  const changes: DirectoryChange[] = [];
  for (const name of after.tenants.keys()) {
    if (!before.tenants.has(name)) changes.push({ event: "tenant.added", tenant: name });
  }
  for (const [id, [credential]] of after.byId) {
    const known = before.byId.get(id)?.[0];
    const what = id.startsWith("cert-") ? "certificate" : "key";
    const tenant = credential?.principal.tenant ?? "";
    if (known === undefined) changes.push({ event: `${what}.added`, key: id, tenant });
    else if (!known.hash.equals(credential?.hash ?? known.hash))
      changes.push({ event: `${what}.rotated`, key: id, tenant });
    else if (known !== credential) changes.push({ event: `${what}.changed`, key: id, tenant });
  }
  for (const [id, [credential]] of before.byId) {
    if (after.byId.has(id)) continue;
    const what = id.startsWith("cert-") ? "certificate" : "key";
    changes.push({ event: `${what}.revoked`, key: id, tenant: credential?.principal.tenant ?? "" });
  }
  for (const name of before.tenants.keys()) {
    if (!after.tenants.has(name)) changes.push({ event: "tenant.removed", tenant: name });
  }
  return changes;
}
