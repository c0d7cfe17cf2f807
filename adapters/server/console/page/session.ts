/** Who has signed in, and who wants to know when that changes. */
import { Api, ApiError, type Rights } from "./api.ts";

/** Where the key is kept when it is to outlive a reload: the browser forgets it with the tab. */
const KEPT_AS = "cairn-console-key";

/** The person at the console. */
export class Session {
  private current: { api: Api; rights: Rights } | undefined;
  private readonly listeners: (() => void)[] = [];
  /** Counts attempts: one that was overtaken by a later one has no effect. */
  private turn = 0;

  /** The server, when somebody has signed in. */
  get api(): Api | undefined {
    return this.current?.api;
  }

  /** What the key may do with all keys of its tenant; nothing when nobody has signed in. */
  get rights(): Rights {
    return this.current?.rights ?? { id: "", tenant: "", all: [] };
  }

  /** Whether the key may do something with every key. `admin`: with the store as a whole. */
  mayAll(verb: string): boolean {
    return this.rights.all.includes(verb);
  }

  /** Calls `listener` whenever somebody has signed in or out. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Signs in; `ApiError` where the key does not count. `keep`: until the tab is closed. */
  async signIn(key: string, keep: boolean): Promise<void> {
    if (!/^[\x21-\x7e]+$/.test(key)) throw new ApiError(401, "This is no API key: it has characters that none has.");
    const turn = ++this.turn;
    const api = new Api(key, () => this.lost(api));
    const rights = await api.rights();
    if (turn !== this.turn) return;
    if (keep) keepKey(key);
    else forgetKey();
    this.use({ api, rights });
  }

  /** Signs in with the key that was kept, if there is one. */
  async resume(): Promise<boolean> {
    const key = keptKey();
    if (key === undefined) return false;
    try {
      await this.signIn(key, true);
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) forgetKey();
      throw error;
    }
  }

  /** Forgets the key, and ends what it has under way. */
  signOut(): void {
    this.turn++;
    forgetKey();
    this.use(undefined);
  }

  private lost(api: Api): void {
    if (this.current?.api === api) this.signOut();
  }

  private use(next: { api: Api; rights: Rights } | undefined): void {
    const { current } = this;
    this.current = next;
    current?.api.end();
    for (const listener of this.listeners) listener();
  }
}

function keptKey(): string | undefined {
  try {
    return sessionStorage.getItem(KEPT_AS) ?? undefined;
  } catch {
    return undefined;
  }
}

function keepKey(key: string): void {
  try {
    sessionStorage.setItem(KEPT_AS, key);
  } catch {
    // Without storage it is kept as long as the page.
  }
}

function forgetKey(): void {
  try {
    sessionStorage.removeItem(KEPT_AS);
  } catch {
    // There is none to forget.
  }
}
