/** Who asks, and what that allows: what every protocol of the server gets from a key, a token or a certificate. */

/** What may be done with keys. `admin` stands for all of it, and for what concerns the store as a whole. */
export const VERBS = ["read", "write", "delete", "range", "watch", "admin"] as const;
export type Verb = (typeof VERBS)[number];

/** The rate of one key or certificate: a second on average, and at once after a pause. */
export interface KeyLimits {
  readonly requestsPerSecond: number;
  readonly burst: number;
}

/** Whoever has shown a key, a token or a certificate that counts. */
export interface Principal {
  /** The public id of the API key: for logs, limits and metrics. A token has that of the key that it was made with. */
  readonly id: string;
  /** The tenant's name. */
  readonly tenant: string;
  /** Whether `verb` is allowed for one key, by its role and, for a token, by its `accessPattern`. */
  may(verb: Verb, key: string | Uint8Array): boolean;
  /** Whether `verb` is allowed for every key of a range; both ends inclusive, `undefined`: no end. */
  mayRange(verb: Verb, start: string | Uint8Array | undefined, end: string | Uint8Array | undefined): boolean;
  /** Whether `verb` is allowed for all keys of the tenant; `admin`: also for the store as a whole. */
  mayAll(verb: Verb): boolean;
  /** What a token is told about: whether a change of `key` goes to its connections. Keys and certificates: nothing. */
  readonly subscribes: ((key: string) => boolean) | undefined;
  /** The rate of the key, within its tenant's; of a token that of the key that it was made with. `undefined`: it has none of its own. */
  readonly limits?: KeyLimits | undefined;
  /** Aborts when the key is revoked: connections of this principal end then. */
  readonly revoked: AbortSignal;
}

/**
 * What of a range a principal is shown, for `ServedRange.shows`; both ends inclusive.
 *
 * `true`: all of it. `false`: the range is refused. A function: those keys for which it is true. Only tokens get one, whose
 * `accessPattern` nothing proves for what lies between two keys: both ends must be allowed, and the rest is left out. A role
 * is asked for a range that it allows wholly: records that are silently missing would look like records that are not there.
 */
export function shownOf(
  principal: Principal,
  verb: Verb,
  start: string | Uint8Array | undefined,
  end: string | Uint8Array | undefined,
): boolean | ((key: string | Uint8Array) => boolean) {
  if (principal.mayRange(verb, start, end)) return true;
  if (principal.subscribes === undefined || start === undefined || end === undefined) return false;
  if (!principal.may(verb, start) || !principal.may(verb, end)) return false;
  return (key) => principal.may(verb, key);
}
