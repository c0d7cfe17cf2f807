/** A connection of a page, whose store a worker of one of its tabs holds. */
import { Connection, type ConnectionSettings } from "../store/connection/connection.ts";
import type { ConnectionFace } from "../store/connection/face.ts";
import type { KeyEncoding, ValueEncoding } from "../store/encoding.ts";
import type { KeyOf, ValueOf } from "../store/options.ts";
import type { StoreStats } from "../store/stats.ts";
import type { Tab } from "./browser-tab.ts";

/** What `stats()` of a connection reports. */
export interface ConnectionStats extends StoreStats {
  /** Whether the worker of this tab holds the store. */
  isOwner: boolean;
}

/** What a page's connection was opened with. */
export interface PageSettings extends ConnectionSettings {
  /** What the browser said when it was asked to keep the origin's files; `undefined` before. */
  persisted(): boolean | undefined;
}

/**
 * An open connection of a page: the calls of `Store`, as promises. Connections come from `connect`.
 *
 * Calls are done in the order in which they were made, and those of one turn of the event loop travel together. When the
 * worker that holds the store ends, whether its tab was closed or it was killed, another takes over: reads are asked
 * again, writes that were answered are there, and a write that was sent and not answered rejects with `DEVICE_WRITE`:
 * it may have happened or not.
 */
export class PageConnection<K = string, V = string> extends Connection<K, V> {
  private readonly tab: Tab;
  private readonly page: PageSettings;

  /** Connections come from `connect`, and from `sub`. @internal */
  constructor(tab: Tab, settings: PageSettings, face: ConnectionFace) {
    super(tab, settings, face);
    this.tab = tab;
    this.page = settings;
  }

  override sub<SubK extends KeyEncoding = "utf8", SubV extends ValueEncoding = "utf8">(
    name: string,
    encodings: { keyEncoding?: SubK; valueEncoding?: SubV } = {},
  ): PageConnection<KeyOf<SubK>, ValueOf<SubV>> {
    return new PageConnection(this.tab, this.page, this.faceBelow(name, encodings));
  }

  override async stats(): Promise<ConnectionStats> {
    const stats = await super.stats();
    const persisted = this.page.persisted() ?? stats.persisted;
    return { ...stats, ...(persisted === undefined ? {} : { persisted }), isOwner: this.tab.isOwner };
  }

  /** Makes everything durable and leaves. The tab that held the store hands it over to another. */
  override close(): Promise<void> {
    return super.close();
  }

  /** Ends the worker of this tab at once, as a crash would, and starts another: for tests and demonstrations. */
  killWorker(): void {
    this.tab.killWorker();
  }
}
