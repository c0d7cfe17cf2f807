/** Sessions of a web application: they expire when they are not used, and outlive restarts and crashes. */
import { createHash, randomBytes } from "node:crypto";
import { open, type Store, type Tuple } from "cairn-kv";

/** What is known of a session. */
export interface Session {
  user: string;
  /** Milliseconds since 1970. */
  createdAt: number;
}

/**
 * Two records a session, with the same expiry: the session under a hash of its token, so that who reads the file cannot
 * take a session over, and its place among those of its user.
 */
export class Sessions {
  private readonly store: Store<Tuple, unknown>;
  /** How long a session lives after its last use, in milliseconds. */
  readonly lifetimeMs: number;

  private constructor(store: Store<Tuple, unknown>, lifetimeMs: number) {
    this.store = store;
    this.lifetimeMs = lifetimeMs;
  }

  static async open(path: string, lifetimeMs: number): Promise<Sessions> {
    const store = await open(path, { keyEncoding: "tuple", valueEncoding: "json" });
    return new Sessions(store, lifetimeMs);
  }

  /** Begins a session. Its token resolves when the session is on stable storage. */
  async begin(user: string): Promise<string> {
    const token = randomBytes(32).toString("base64url");
    await this.store.batch(this.records(hashOf(token), { user, createdAt: Date.now() }));
    return token;
  }

  /**
   * The session of a token, or `undefined`. A use renews the expiry, but only when half of it is over: most uses write
   * nothing, and a renewal that a crash takes back costs half a lifetime at most.
   */
  use(token: string): Session | undefined {
    const hash = hashOf(token);
    const entry = this.store.getEntry(["session", hash]);
    if (entry === undefined) return undefined;
    const session = entry.value as Session;
    if ((entry.expiresAt as number) - Date.now() < this.lifetimeMs / 2) {
      const batch = this.store.batch();
      for (const { key, value, expiresIn } of this.records(hash, session)) batch.set(key, value, { expiresIn });
      batch.commit();
    }
    return session;
  }

  /** Ends a session: whether there was one. Resolves when that is on stable storage. */
  async end(token: string): Promise<boolean> {
    const hash = hashOf(token);
    const session = this.store.get(["session", hash]) as Session | undefined;
    if (session === undefined) return false;
    await this.store.batch(deletions(hash, session.user));
    return true;
  }

  /** Ends all sessions of a user at once: how many there were. */
  async endAll(user: string): Promise<number> {
    const hashes = [...this.store.keys({ prefix: ["user", user] })].map((key) => key[2] as Uint8Array);
    await this.store.batch(hashes.flatMap((hash) => deletions(hash, user)));
    return hashes.length;
  }

  /** Closes the store, with everything durable. */
  close(): Promise<void> {
    return this.store.close();
  }

  private records(hash: Uint8Array, session: Session) {
    const expiresIn = this.lifetimeMs;
    return [
      { type: "set" as const, key: ["session", hash], value: session as unknown, expiresIn },
      { type: "set" as const, key: ["user", session.user, hash], value: null, expiresIn },
    ];
  }
}

function deletions(hash: Uint8Array, user: string) {
  return [
    { type: "delete" as const, key: ["session", hash] },
    { type: "delete" as const, key: ["user", user, hash] },
  ];
}

function hashOf(token: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(token).digest());
}
