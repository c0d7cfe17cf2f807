/**
 * Who may do what: API keys, tokens and certificates as principals, over a keys file that may change while the server runs.
 *
 * 1. Asking is synchronous. A key or token that was shown before costs a look-up; a new one a SHA-256 or an HMAC.
 * 2. Only what counts is remembered: whoever guesses fills no memory.
 * 3. A changed file is in force about half a second later. One that is wrong changes nothing, and is logged.
 */

import { isUtf8 } from "node:buffer";
import { timingSafeEqual } from "node:crypto";
import { setMaxListeners } from "node:events";
import type { ServerConfig, Settings } from "../config.ts";
import { ServerFailure } from "../failure.ts";
import type { Principal, Verb } from "../principal.ts";
import { hashOfSecret, readApiKey } from "./api-keys.ts";
import { Audit } from "./audit.ts";
import {
  type Credential,
  type Directory,
  directoryOf,
  EMPTY_DIRECTORY,
  openPrincipal,
  type TenantConfig,
} from "./credentials.ts";
import { changesBetween } from "./directory-changes.ts";
import { wrong } from "./fields.ts";
import type { KeysFile } from "./keys-format.ts";
import { newTokenSecret } from "./keys-format.ts";
import { WatchedKeys } from "./keys-watch.ts";
import { claimsOf, isSignedBy, partsOf, readClaims, TokenPrincipal, type TokenRequest, tokenOf } from "./tokens.ts";

/** What of the configuration is about access; `ServerConfig` and `Settings` are both that. */
export type AccessConfig = Pick<ServerConfig | Settings, "keys" | "audit" | "tokenLifetimeMs" | "riocTenant">;

/** Where the log's lines go. */
export type AccessLog = (level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>) => void;

/** Where something came from, for the audit log. */
export interface Origin {
  /** The other side's address. */
  address?: string | undefined;
  /** `rest`, `websocket`, `rioc`, … */
  protocol?: string | undefined;
  /** What was asked for, where verb and record do not say it. */
  operation?: string | undefined;
}

const TOKEN_LIFETIME_MS = 7_200_000;
/** How often what has run out is looked for. */
const SWEEP_MS = 500;
/** Tokens that are remembered; one costs some kilobytes, its patterns compiled. */
const TOKEN_MEMO_MAX = 1_024;
const FINGERPRINT = /^[0-9a-f]{64}$/;
/** What the hash of a secret for no key is compared with. */
const NO_HASH = Buffer.alloc(32);

export class Access {
  /** Entries of the audit log; other parts of the server add theirs. */
  readonly audit: Audit;
  readonly #lifetimeMs: number;
  readonly #log: AccessLog;
  #directory: Directory = EMPTY_DIRECTORY;
  #watched: WatchedKeys | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #ownTokenSecret: string | undefined;
  /** By the whole text of a key. Only keys that count are in it, so the file bounds it. */
  readonly #byText = new Map<string, Credential>();
  /** The most recently used last. */
  readonly #tokens = new Map<string, { principal: Principal; credential: Credential; expiresMs: number }>();
  readonly #credentials = new WeakMap<Principal, Credential>();
  readonly #open = new Map<string, { principal: Principal; controller: AbortController }>();
  readonly #riocTenant: string | undefined;
  readonly #hasKeys: boolean;

  private constructor(config: AccessConfig, log: AccessLog) {
    this.#lifetimeMs = config.tokenLifetimeMs ?? TOKEN_LIFETIME_MS;
    this.#riocTenant = config.riocTenant;
    this.#hasKeys = config.keys !== undefined;
    this.#log = log;
    this.audit = new Audit(config.audit, log);
  }

  /** Reads the keys. Throws `INVALID_ARGUMENT` when they are not to be read, or wrong. */
  static async open(config: AccessConfig, log: AccessLog = () => {}): Promise<Access> {
    const access = new Access(config, log);
    if (typeof config.keys === "string") {
      access.#watched = await WatchedKeys.open(config.keys, {
        changed: (file) => access.#take(file),
        failed: (message) => log("error", message),
        warned: (message) => log("warn", message),
      });
      access.#take(access.#watched.file);
    } else if (config.keys !== undefined) {
      access.#take(config.keys);
    }
    try {
      access.#checkRioc();
    } catch (error) {
      access.#watched?.close();
      throw error;
    }
    access.#sweep = setInterval(() => access.#endWhatIsOver(), SWEEP_MS);
    access.#sweep.unref();
    return access;
  }

  /** Whoever an API key stands for; `undefined` when it does not count. */
  authenticate(apiKey: string, from?: Origin): Principal | undefined {
    const known = this.#byText.get(apiKey);
    if (known !== undefined) {
      // The clock costs more than all the rest.
      if (known.expiresMs === Number.POSITIVE_INFINITY || known.expiresMs > Date.now()) return known.principal;
      this.#byText.delete(apiKey);
    }
    const credential = this.#credentialOf(apiKey, from);
    if (credential === undefined) return undefined;
    this.#byText.set(apiKey, credential);
    return credential.principal;
  }

  /** Whoever a token stands for; `undefined` when it does not count, or not any more. */
  verifyToken(token: string, from?: Origin): Principal | undefined {
    const known = this.#tokens.get(token);
    if (known !== undefined) {
      this.#tokens.delete(token);
      if (known.expiresMs > Date.now() && !known.credential.isOver) {
        this.#tokens.set(token, known);
        return known.principal;
      }
    }
    const parts = partsOf(token);
    if (parts === undefined) return this.#refuse("token", "malformed", undefined, from);
    const credential = this.#signerOf(parts);
    if (credential === undefined) {
      const isKnown = this.#directory.byId.has(parts.id);
      return this.#refuse("token", isKnown ? "signature" : "unknown", isKnown ? parts.id : undefined, from);
    }
    const claims = readClaims(parts.payload);
    if (claims.expiresMs <= Date.now()) return this.#refuse("token", "expired", parts.id, from);
    const principal = new TokenPrincipal(credential.principal, claims);
    this.#tokens.set(token, { principal, credential, expiresMs: claims.expiresMs });
    if (this.#tokens.size > TOKEN_MEMO_MAX) this.#tokens.delete(this.#tokens.keys().next().value as string);
    return principal;
  }

  /** Makes a token. `ServerFailure` 400 for what is asked wrongly, 403 where the principal may not. */
  issueToken(principal: Principal, asked: TokenRequest, from?: Origin): { token: string; expiresAt: number } {
    const credential = this.#credentials.get(principal);
    if (credential === undefined || credential.isOver) {
      throw new ServerFailure(403, "Only an API key or a certificate makes tokens.");
    }
    const expiresMs = Math.min(Date.now() + this.#lifetimeMs, credential.expiresMs);
    const claims = claimsOf(asked, expiresMs);
    if (claims.globs.length + claims.patterns.length > 0 && !credential.role.mayAny("watch")) {
      this.denied(principal, "watch", undefined, from);
      throw new ServerFailure(403, "This key may not watch, so its tokens cannot subscribe.");
    }
    const [newest] = this.#directory.tokenSecrets;
    if (newest === undefined) throw new ServerFailure(403, "This server makes no tokens.");
    const token = tokenOf(claims, credential, newest.secret);
    this.audit.record("token.issued", {
      key: principal.id,
      tenant: principal.tenant,
      expires: new Date(expiresMs).toISOString(),
      subscriptions: claims.globs.length + claims.patterns.length,
      accessPattern: claims.accessPattern,
      ...from,
    });
    return { token, expiresAt: expiresMs };
  }

  /** Whoever a client certificate stands for, by its SHA-256: hexadecimal, with or without colons. */
  certificate(fingerprintSha256: string, from?: Origin): Principal | undefined {
    const fingerprint = fingerprintSha256.replaceAll(":", "").toLowerCase();
    const credential = FINGERPRINT.test(fingerprint) ? this.#directory.certificates.get(fingerprint) : undefined;
    if (credential === undefined) return this.#refuse("certificate", "unknown", undefined, from);
    if (credential.isOver) return this.#refuse("certificate", "expired", credential.id, from);
    this.#credentials.set(credential.principal, credential);
    return credential.principal;
  }

  /** Whoever is let in for a tenant without showing anything, as RIOC under `riocTenant`: all of `writer`. Ends with the tenant. */
  unauthenticated(tenant: string): Principal {
    const known = this.#open.get(tenant);
    if (known !== undefined) return known.principal;
    const controller = new AbortController();
    // As many connections as there are listen; a warning about a leak would be wrong.
    setMaxListeners(0, controller.signal);
    const principal = openPrincipal(`open-${tenant}`, this.tenant(tenant), controller.signal);
    this.#open.set(tenant, { principal, controller });
    return principal;
  }

  /** A tenant by name. Throws for one that the keys do not name. */
  tenant(name: string): TenantConfig {
    const tenant = this.#directory.tenants.get(name);
    if (tenant !== undefined) return tenant;
    if (!this.#hasKeys && name === this.#riocTenant) {
      return { name, namespace: name, operator: false, limits: undefined };
    }
    throw new ServerFailure(403, "The tenant is not there any more.");
  }

  /** All tenants. */
  tenants(): TenantConfig[] {
    return [...this.#directory.tenants.values()];
  }

  /** Tells the audit log that a principal was refused something. `key` is shortened. */
  denied(principal: Principal, verb: Verb, key?: string | Uint8Array, from?: Origin): void {
    this.audit.denied({
      key: principal.id,
      tenant: principal.tenant,
      verb,
      record: key === undefined ? undefined : shortened(key),
      ...from,
    });
  }

  /** Stops to watch the file, and writes out the audit log. Principals go on to count. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    this.#watched?.close();
    await this.audit.close();
  }

  #credentialOf(apiKey: string, from: Origin | undefined): Credential | undefined {
    const read = readApiKey(apiKey);
    if (read === undefined) return this.#refuse("key", "malformed", undefined, from);
    const candidates = this.#directory.keys.get(read.id);
    const hash = hashOfSecret(read.secret);
    // Of an id that is not there, too, one hash is compared, and of one that is all: time tells neither.
    let found: Credential | undefined;
    for (const candidate of candidates ?? []) if (timingSafeEqual(hash, candidate.hash)) found = candidate;
    if (candidates === undefined) timingSafeEqual(hash, NO_HASH);
    if (found === undefined) {
      return this.#refuse("key", candidates === undefined ? "unknown" : "secret", candidates && read.id, from);
    }
    if (found.isOver) return this.#refuse("key", "expired", read.id, from);
    this.#credentials.set(found.principal, found);
    return found;
  }

  #signerOf(parts: { id: string; signed: string; signature: Buffer }): Credential | undefined {
    const now = Date.now();
    for (const credential of this.#directory.byId.get(parts.id) ?? []) {
      if (credential.isOver) continue;
      for (const { secret, expiresMs } of this.#directory.tokenSecrets) {
        if (expiresMs > now && isSignedBy(parts, credential, secret)) return credential;
      }
    }
    return undefined;
  }

  #refuse(kind: string, reason: string, id: string | undefined, from: Origin | undefined): undefined {
    this.audit.failed({ kind, reason, key: id, ...from });
    return undefined;
  }

  #take(file: KeysFile): void {
    let whole = file;
    if (file.tokens === undefined) {
      // A file by hand: its tokens end with this process, and no other process knows them.
      if (this.#ownTokenSecret === undefined) {
        this.#ownTokenSecret = newTokenSecret();
        this.#log(
          "warn",
          'The keys file has no secret for tokens, so they end with this process; "cairn keys rotate --tokens" makes one.',
        );
      }
      whole = { ...file, tokens: { secret: this.#ownTokenSecret } };
    }
    const before = this.#directory;
    this.#directory = directoryOf(whole, before);
    this.#byText.clear();
    this.#tokens.clear();
    if (before === EMPTY_DIRECTORY) return;
    for (const [tenant, { controller }] of this.#open) {
      const now = this.#directory.tenants.get(tenant);
      if (now !== undefined && now.namespace === before.tenants.get(tenant)?.namespace) continue;
      this.#open.delete(tenant);
      controller.abort();
    }
    for (const { event, ...fields } of changesBetween(before, this.#directory)) {
      this.audit.record(event, { ...fields, by: "keys file" });
      this.#log("info", `keys file: ${event}`, fields);
    }
  }

  #checkRioc(): void {
    const tenant = this.#riocTenant;
    if (tenant === undefined || !this.#hasKeys || this.#directory.tenants.has(tenant)) return;
    throw wrong("riocTenant", tenant, "a tenant of the keys file");
  }

  #endWhatIsOver(): void {
    for (const credentials of this.#directory.byId.values()) {
      for (const credential of credentials) if (credential.isOver) credential.end();
    }
  }
}

const RECORD_SIZE_MAX = 128;

function shortened(key: string | Uint8Array): string {
  const text = typeof key === "string" ? key : textOrBase64(key);
  return text.length > RECORD_SIZE_MAX ? `${text.slice(0, RECORD_SIZE_MAX)}…` : text;
}

/** Of the beginning of a key, where that is text. */
function textOrBase64(key: Uint8Array): string {
  const bytes = Buffer.from(key.subarray(0, 2 * RECORD_SIZE_MAX));
  return isUtf8(bytes) ? bytes.toString() : `base64:${bytes.subarray(0, RECORD_SIZE_MAX).toString("base64")}`;
}
