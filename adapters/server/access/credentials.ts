/**
 * Whoever counts at present: the keys file's contents, ready to be asked, and what becomes of them when the file changes.
 *
 * A credential is one secret of an API key, or one certificate. It lives on over a change of the file as long as what it
 * stands for does not change; else its signal aborts, and whoever was let in by it must show what it has again.
 */
import { setMaxListeners } from "node:events";
import type { KeyLimits, Principal, Verb } from "../principal.ts";
import { BUILT_IN_ROLES, type GrantEntry, type KeysFile } from "./keys-format.ts";
import { keyLimitsOf, type Limits } from "./limit-fields.ts";
import { Role } from "./roles.ts";

/** A tenant, as the other parts of the server know it. */
export interface TenantConfig {
  readonly name: string;
  /** The namespace of the store that holds its records; "": the store's own keys. */
  readonly namespace: string;
  /** Whether its admins may see to the store as a whole. */
  readonly operator: boolean;
  /** Of its own; what is missing is the configuration's. */
  readonly limits: Partial<Limits> | undefined;
}

/** From when on what has no end no longer counts. */
const NEVER_MS = Number.POSITIVE_INFINITY;
/** Namespaces of a store begin with this byte; no text does. */
const NAMESPACE = 0xff;

/** One secret of a key, or one certificate. */
export class Credential {
  /** The key's id; of a certificate `cert-` and the beginning of its fingerprint. */
  readonly id: string;
  /** SHA-256 of the secret, or of the certificate. */
  readonly hash: Buffer;
  readonly role: Role;
  readonly principal: RolePrincipal;
  /** When it stops to count, in milliseconds since the epoch. */
  expiresMs: number;
  /** Everything that it stands for: two with the same one are the same. */
  readonly meaning: string;
  readonly #controller = new AbortController();

  constructor(id: string, hash: string, tenant: TenantConfig, role: Role, expiresMs: number, meaning: string) {
    this.id = id;
    this.hash = Buffer.from(hash, "hex");
    this.role = role;
    this.expiresMs = expiresMs;
    this.meaning = meaning;
    // As many connections as a key has listen; a warning about a leak would be wrong.
    setMaxListeners(0, this.#controller.signal);
    this.principal = new RolePrincipal(id, tenant, role, this.#controller.signal);
  }

  get isOver(): boolean {
    return this.#controller.signal.aborted || this.expiresMs <= Date.now();
  }

  end(): void {
    this.#controller.abort();
  }
}

/** All that of one version of the file. */
export interface Directory {
  readonly tenants: ReadonlyMap<string, TenantConfig>;
  /** By key id: the secret that counts, and while a rotation's grace lasts the one before. */
  readonly keys: ReadonlyMap<string, readonly Credential[]>;
  /** By fingerprint. */
  readonly certificates: ReadonlyMap<string, Credential>;
  /** By id, keys and certificates. */
  readonly byId: ReadonlyMap<string, readonly Credential[]>;
  /** Secrets that tokens may be signed with, the newest first. */
  readonly tokenSecrets: readonly { secret: Buffer; expiresMs: number }[];
}

export const EMPTY_DIRECTORY: Directory = {
  tenants: new Map(),
  keys: new Map(),
  certificates: new Map(),
  byId: new Map(),
  tokenSecrets: [],
};

/** The directory of a checked file. Credentials of `before` that mean the same live on; all others of it end. */
export function directoryOf(file: KeysFile, before: Directory): Directory {
  const tenants = tenantsOf(file);
  const roles = new Map<string, { role: Role; rules: string }>();
  for (const [name, rules] of [...Object.entries(BUILT_IN_ROLES), ...Object.entries(file.roles ?? {})]) {
    roles.set(name, { role: new Role(rules), rules: JSON.stringify(rules) });
  }
  const living = new Map<string, Credential>();
  for (const credentials of before.byId.values()) {
    for (const credential of credentials) {
      if (credential.isOver) credential.end();
      else living.set(credential.meaning, credential);
    }
  }
  const credentialOf = (id: string, hash: string, entry: GrantEntry, until: string | undefined): Credential => {
    const tenant = tenants.get(entry.tenant) as TenantConfig;
    const { role, rules } = roles.get(entry.role) as { role: Role; rules: string };
    const expiresMs = Math.min(momentMs(entry.expires), momentMs(until));
    const meaning = JSON.stringify([id, hash, tenant.name, tenant.namespace, tenant.operator, rules]);
    const same = living.get(meaning);
    if (same === undefined) return new Credential(id, hash, tenant, role, expiresMs, meaning);
    living.delete(meaning);
    same.expiresMs = expiresMs;
    return same;
  };
  const limited = (credential: Credential, { limits }: GrantEntry): Credential => {
    // Whoever is connected stays, and has the new rate.
    credential.principal.limits = keyLimitsOf(limits);
    return credential;
  };

  const keys = new Map<string, readonly Credential[]>();
  for (const [id, entry] of Object.entries(file.keys ?? {})) {
    const credentials = [limited(credentialOf(id, entry.sha256, entry, undefined), entry)];
    if (entry.previous !== undefined) {
      credentials.push(limited(credentialOf(id, entry.previous.sha256, entry, entry.previous.until), entry));
    }
    keys.set(id, credentials);
  }
  const certificates = new Map<string, Credential>();
  const byId = new Map(keys);
  for (const [fingerprint, entry] of Object.entries(file.certificates ?? {})) {
    const credential = limited(credentialOf(certificateId(fingerprint), fingerprint, entry, undefined), entry);
    certificates.set(fingerprint, credential);
    byId.set(credential.id, [credential]);
  }
  for (const gone of living.values()) gone.end();
  return { tenants, keys, certificates, byId, tokenSecrets: tokenSecretsOf(file) };
}

/** The public id of a certificate. */
export function certificateId(fingerprint: string): string {
  return `cert-${fingerprint.slice(0, 16)}`;
}

/** Who is let in without showing anything, by the configuration: all verbs on the tenant's keys, nothing of the store. */
export function openPrincipal(id: string, tenant: TenantConfig, signal: AbortSignal): Principal {
  const role = new Role(BUILT_IN_ROLES["writer"] ?? []);
  return new RolePrincipal(id, tenant, role, signal);
}

function tenantsOf(file: KeysFile): Map<string, TenantConfig> {
  const entries = Object.entries(file.tenants ?? {});
  return new Map(
    entries.map(([name, { namespace, operator, limits }]) => [
      name,
      { name, namespace: namespace ?? name, operator: operator ?? entries.length === 1, limits },
    ]),
  );
}

function tokenSecretsOf({ tokens }: KeysFile): Directory["tokenSecrets"] {
  if (tokens === undefined) return [];
  const secrets = [{ secret: Buffer.from(tokens.secret, "base64url"), expiresMs: NEVER_MS }];
  if (tokens.previous !== undefined) {
    const { secret, until } = tokens.previous;
    secrets.push({ secret: Buffer.from(secret, "base64url"), expiresMs: momentMs(until) });
  }
  return secrets;
}

function momentMs(moment: string | undefined): number {
  return moment === undefined ? NEVER_MS : Date.parse(moment);
}

/** A key or a certificate: what its role allows. */
class RolePrincipal implements Principal {
  readonly id: string;
  readonly tenant: string;
  readonly subscribes = undefined;
  readonly revoked: AbortSignal;
  limits: KeyLimits | undefined = undefined;
  readonly #role: Role;
  readonly #isOperator: boolean;
  /** Whether byte keys may lie in the namespaces of others: those of the store's own keys may. */
  readonly #isOwn: boolean;

  constructor(id: string, tenant: TenantConfig, role: Role, revoked: AbortSignal) {
    this.id = id;
    this.tenant = tenant.name;
    this.revoked = revoked;
    this.#role = role;
    this.#isOperator = tenant.operator;
    this.#isOwn = tenant.namespace === "";
  }

  may(verb: Verb, key: string | Uint8Array): boolean {
    return this.#role.may(verb, key) && !(this.#isOwn && isInNamespace(key));
  }

  mayRange(verb: Verb, start: string | Uint8Array | undefined, end: string | Uint8Array | undefined): boolean {
    return this.#role.mayRange(verb, start, end) && !(this.#isOwn && (isInNamespace(start) || isInNamespace(end)));
  }

  mayAll(verb: Verb): boolean {
    return this.#role.mayAll(verb) && (verb !== "admin" || this.#isOperator);
  }
}

function isInNamespace(key: string | Uint8Array | undefined): boolean {
  return typeof key === "object" && key[0] === NAMESPACE;
}
