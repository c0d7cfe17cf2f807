/** The one store that the page has open, and who wants to know when it changes. */

import { type Connection as ConnectionOf, connect } from "../../hosts/browser.ts";
import { removeStore } from "./files.ts";
import { Presence } from "./presence.ts";

/** A connection in bytes: what is no text is shown and edited as hex, and comes to no harm. */
export type Connection = ConnectionOf<Uint8Array, Uint8Array>;

/** Connects to a store by the name of its file. */
export function connectTo(name: string, options: { create: boolean }): Promise<Connection> {
  return connect(name, { keyEncoding: "binary", valueEncoding: "binary", ...options });
}

/** The open store. */
export class Session {
  /** Name of the open store, also while its file is lent out and there is no connection. */
  name: string | undefined;
  private current: Connection | undefined;
  private readonly presence = new Presence();
  private readonly listeners: (() => void)[] = [];
  /** One change of what is open at a time. */
  private last: Promise<unknown> = Promise.resolve();

  /** The connection, when a store is open. */
  get connection(): Connection | undefined {
    return this.current;
  }

  /** The connection; throws when no store is open. */
  get open(): Connection {
    if (!this.current) throw new Error("No store is open. Open or create one first.");
    return this.current;
  }

  /** Calls `listener` whenever another store is open, or none. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /**
   * Opens a store instead of the one that is open. Without `create`, a missing one is refused. When the store does not
   * open, the one before is opened again.
   */
  use(name: string, options: { create: boolean }): Promise<void> {
    return this.inTurn(async () => {
      const before = this.name;
      await this.drop();
      try {
        await this.take(name, options);
      } catch (error) {
        if (before !== undefined && before !== name) await this.take(before, { create: false });
        throw error;
      }
    });
  }

  /** Closes the open store. */
  close(): Promise<void> {
    return this.inTurn(() => this.drop());
  }

  /**
   * Does something that needs the store's file for itself, with the store closed, and opens it again. Throws, and leaves
   * the store open, when another tab has it open as well.
   */
  withoutStore<T>(work: (name: string) => Promise<T>): Promise<T> {
    return this.inTurn(async () => {
      const name = this.nameOfOpen();
      try {
        return await this.presence.alone(name, async () => {
          await this.disconnect();
          return work(name);
        });
      } finally {
        if (this.current) await this.presence.enter(name);
        else await this.take(name, { create: false });
      }
    });
  }

  /** Closes the open store and deletes its file. Throws, and leaves the store open, when another tab has it open as well. */
  remove(): Promise<void> {
    return this.inTurn(async () => {
      const name = this.nameOfOpen();
      try {
        await this.presence.alone(name, async () => {
          await this.drop();
          await removeStore(name);
        });
      } finally {
        if (this.current) await this.presence.enter(name);
      }
    });
  }

  private nameOfOpen(): string {
    if (this.name === undefined) throw new Error("No store is open. Open or create one first.");
    return this.name;
  }

  private async take(name: string, options: { create: boolean }): Promise<void> {
    this.name = undefined;
    try {
      await this.presence.enter(name);
      this.current = await connectTo(name, options);
      this.name = name;
    } catch (error) {
      await this.presence.leave();
      throw error;
    } finally {
      this.changed();
    }
  }

  private async drop(): Promise<void> {
    this.name = undefined;
    try {
      await this.disconnect();
    } finally {
      await this.presence.leave();
    }
  }

  private async disconnect(): Promise<void> {
    const { current } = this;
    this.current = undefined;
    if (!current) return;
    try {
      await current.close();
    } finally {
      this.changed();
    }
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.last.then(work);
    this.last = done.catch(() => undefined);
    return done;
  }
}
