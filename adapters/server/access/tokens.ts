/**
 * Tokens: what a connection may do and is told, signed, so that the server keeps nothing of it.
 *
 *   <id of the issuing key>.<base64url of deflated JSON { e, s, r, a }>.<base64url of the signature>
 *
 * `e`: when it ends, milliseconds since the epoch; `s`: globs and `r`: regular expressions of the subscription; `a`: accessPattern.
 *
 * 1. The signature is an HMAC-SHA-256 with the keys file's secret for tokens, over the hash of the key's secret and all of
 *    the text before it. So a token ends with the key that it was made with, also when that is only rotated.
 * 2. Nothing of a token is inflated or parsed before the signature has been found to be right.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { ServerFailure } from "../failure.ts";
import type { KeyLimits, Principal, Verb } from "../principal.ts";
import type { Credential } from "./credentials.ts";
import { globMatcher } from "./globs.ts";
import { compilePattern, compileSimplePattern } from "./patterns.ts";

/** What a token is asked for with; any of them may be missing. */
export interface TokenRequest {
  /** Keys or globs whose changes its connections are told of. */
  subscribeKeys?: readonly string[] | undefined;
  /** The same; one that begins with `^` is a regular expression. */
  subscribePatterns?: readonly string[] | undefined;
  /** A regular expression, somewhere in the key. Without it only the keys of its subscription are allowed. */
  accessPattern?: string | undefined;
}

/** What a token says. */
export interface TokenClaims {
  expiresMs: number;
  globs: readonly string[];
  patterns: readonly string[];
  accessPattern: string | undefined;
}

/** Longer ones do not fit into the URL of a connection everywhere. */
export const TOKEN_SIZE_MAX = 6_144;
const ENTRY_COUNT_MAX = 1_000;
const ENTRY_SIZE_MAX = 1_024;
const PATTERN_COUNT_MAX = 16;
const CLAIMS_SIZE_MAX = 2 * 1_048_576;
const TOKEN = /^([A-Za-z0-9-]{4,64})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** What is asked for, checked. 400 for what is wrong. */
export function claimsOf(asked: TokenRequest, expiresMs: number): TokenClaims {
  const keys = entriesOf(asked.subscribeKeys, "subscribeKeys");
  const patterns = entriesOf(asked.subscribePatterns, "subscribePatterns");
  const regular = patterns.filter((entry) => entry.startsWith("^"));
  if (regular.length > PATTERN_COUNT_MAX) {
    throw new ServerFailure(
      400,
      `subscribePatterns may hold ${PATTERN_COUNT_MAX} regular expressions; there are ${regular.length}.`,
    );
  }
  for (const entry of regular) compileSimplePattern(entry, "subscribePatterns");
  const { accessPattern } = asked as { accessPattern?: unknown };
  if (accessPattern !== undefined && accessPattern !== null) {
    if (typeof accessPattern !== "string" || accessPattern === "") {
      throw new ServerFailure(
        400,
        'accessPattern must be a regular expression, as "^user:.*$"; ".*" allows every key.',
      );
    }
    compilePattern(accessPattern, "accessPattern");
  }
  const globs = [...keys, ...patterns.filter((entry) => !entry.startsWith("^"))];
  if (globs.length > ENTRY_COUNT_MAX) {
    throw new ServerFailure(
      400,
      `A token may subscribe to ${ENTRY_COUNT_MAX} keys and patterns; there are ${globs.length}.`,
    );
  }
  return {
    expiresMs,
    globs: [...new Set(globs)],
    patterns: [...new Set(regular)],
    accessPattern: (accessPattern ?? undefined) as string | undefined,
  };
}

/** The text of a token. 400 when it would be too long for a URL. */
export function tokenOf(claims: TokenClaims, credential: Credential, secret: Buffer): string {
  const { expiresMs, globs, patterns, accessPattern } = claims;
  const text = JSON.stringify({ e: expiresMs, s: globs, r: patterns, a: accessPattern });
  const signed = `${credential.id}.${deflateRawSync(text).toString("base64url")}`;
  const token = `${signed}.${signature(signed, credential, secret).toString("base64url")}`;
  if (token.length <= TOKEN_SIZE_MAX) return token;
  throw new ServerFailure(
    400,
    `The token would have ${token.length} characters; ${TOKEN_SIZE_MAX} fit into a URL. Subscribe with fewer or shorter keys, or with patterns.`,
  );
}

/** The parts of a token's text, not proven; `undefined` when it is none. */
export function partsOf(token: string): { id: string; signed: string; payload: string; signature: Buffer } | undefined {
  if (token.length > TOKEN_SIZE_MAX) return undefined;
  const [, id = "", payload = "", mac = ""] = TOKEN.exec(token) ?? [];
  if (id === "") return undefined;
  return { id, signed: `${id}.${payload}`, payload, signature: Buffer.from(mac, "base64url") };
}

/** Whether a signature is that of `secret` and of the credential. */
export function isSignedBy(
  parts: { signed: string; signature: Buffer },
  credential: Credential,
  secret: Buffer,
): boolean {
  return timingSafeEqual(parts.signature, signature(parts.signed, credential, secret));
}

/** What a proven token says. */
export function readClaims(payload: string): TokenClaims {
  const text = inflateRawSync(Buffer.from(payload, "base64url"), { maxOutputLength: CLAIMS_SIZE_MAX }).toString("utf8");
  const { e, s, r, a } = JSON.parse(text) as { e: number; s: string[]; r: string[]; a?: string };
  return { expiresMs: e, globs: s, patterns: r, accessPattern: a };
}

/** Whoever shows a token: no more than the key that it was made with, and of that what the token says. */
export class TokenPrincipal implements Principal {
  readonly id: string;
  readonly tenant: string;
  readonly revoked: AbortSignal;
  readonly subscribes: (key: string) => boolean;
  readonly #issuer: Principal;
  readonly #allows: (key: string) => boolean;

  constructor(issuer: Principal, claims: TokenClaims) {
    this.id = issuer.id;
    this.tenant = issuer.tenant;
    this.revoked = issuer.revoked;
    this.#issuer = issuer;
    const isGlob = globMatcher(claims.globs);
    const tests = claims.patterns.map((pattern) => compileSimplePattern(pattern, "subscribePatterns"));
    const isSubscribed = tests.length === 0 ? isGlob : (key: string) => isGlob(key) || tests.some((test) => test(key));
    this.subscribes = (key) => isSubscribed(key) && issuer.may("watch", key);
    this.#allows =
      claims.accessPattern === undefined ? isSubscribed : compilePattern(claims.accessPattern, "accessPattern");
  }

  get limits(): KeyLimits | undefined {
    return this.#issuer.limits;
  }

  may(verb: Verb, key: string | Uint8Array): boolean {
    // Cheapest first: a key that the issuer may not use needs no pattern.
    if (verb === "admin" || !this.#issuer.may(verb, key)) return false;
    const text = typeof key === "string" ? key : decoded(key);
    return text !== undefined && this.#allows(text);
  }

  /** Of patterns only a single key can be proven; for more there is `shownOf`. */
  mayRange(verb: Verb, start: string | Uint8Array | undefined, end: string | Uint8Array | undefined): boolean {
    return typeof start === "string" && start === end && this.may(verb, start);
  }

  mayAll(): boolean {
    return false;
  }
}

function signature(signed: string, credential: Credential, secret: Buffer): Buffer {
  return createHmac("sha256", secret).update(credential.hash).update(signed).digest();
}

/** Text of a key of bytes; `undefined` where it is none: no pattern is about it. */
function decoded(key: Uint8Array): string | undefined {
  try {
    return utf8.decode(key);
  } catch {
    return undefined;
  }
}

function entriesOf(given: unknown, field: string): string[] {
  if (given === undefined || given === null) return [];
  if (!Array.isArray(given)) throw new ServerFailure(400, `${field} must be a list of keys and patterns.`);
  if (given.length > ENTRY_COUNT_MAX) {
    throw new ServerFailure(400, `${field} may hold ${ENTRY_COUNT_MAX} keys and patterns; there are ${given.length}.`);
  }
  for (const [at, entry] of given.entries()) {
    if (typeof entry !== "string" || entry === "" || entry.length > ENTRY_SIZE_MAX) {
      throw new ServerFailure(400, `${field}[${at}] must be a key or a pattern of 1 to ${ENTRY_SIZE_MAX} characters.`);
    }
  }
  return given as string[];
}
