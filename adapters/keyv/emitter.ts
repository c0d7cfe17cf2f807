/** The events that Keyv listens to, without the module of a runtime. */

/** A listener takes what its event brings. */
// biome-ignore lint/suspicious/noExplicitAny: as in Keyv's own types.
export type KeyvListener = (...details: any[]) => void;

/** A small emitter with the calls that storage adapters of Keyv have. */
export class Emitter {
  private readonly entries: { event: string | symbol; listener: KeyvListener; raw: KeyvListener }[] = [];

  /** Calls a listener at each event of a name. */
  on(event: string | symbol, listener: KeyvListener): this {
    this.entries.push({ event, listener, raw: listener });
    return this;
  }

  /** `on`. */
  addListener(event: string | symbol, listener: KeyvListener): this {
    return this.on(event, listener);
  }

  /** `on`, before all others. */
  prependListener(event: string | symbol, listener: KeyvListener): this {
    this.entries.unshift({ event, listener, raw: listener });
    return this;
  }

  /** Calls a listener at the next event of a name. */
  once(event: string | symbol, listener: KeyvListener): this {
    this.entries.push({ event, listener, raw: this.single(event, listener) });
    return this;
  }

  /** `once`, before all others. */
  prependOnceListener(event: string | symbol, listener: KeyvListener): this {
    this.entries.unshift({ event, listener, raw: this.single(event, listener) });
    return this;
  }

  /** Forgets a listener. */
  off(event: string | symbol, listener: KeyvListener): this {
    const index = this.entries.findLastIndex((entry) => entry.event === event && entry.listener === listener);
    if (index >= 0) this.entries.splice(index, 1);
    return this;
  }

  /** `off`. */
  removeListener(event: string | symbol, listener: KeyvListener): this {
    return this.off(event, listener);
  }

  /** Forgets all listeners of an event, or of all. */
  removeAllListeners(event?: string | symbol): this {
    for (let index = this.entries.length - 1; index >= 0; index--) {
      if (event === undefined || this.entries[index]?.event === event) this.entries.splice(index, 1);
    }
    return this;
  }

  /** Calls the listeners of an event: whether there are any. */
  emit(event: string | symbol, ...details: unknown[]): boolean {
    const raw = this.rawListeners(event);
    for (const listener of raw) listener(...details);
    return raw.length > 0;
  }

  /** How many listeners an event has. */
  listenerCount(event: string | symbol): number {
    return this.rawListeners(event).length;
  }

  /** The listeners of an event. */
  listeners(event: string | symbol): KeyvListener[] {
    return this.entries.filter((entry) => entry.event === event).map(({ listener }) => listener);
  }

  /** The same, with what `once` has put around its own. */
  rawListeners(event: string | symbol): KeyvListener[] {
    return this.entries.filter((entry) => entry.event === event).map(({ raw }) => raw);
  }

  /** The events that have listeners. */
  eventNames(): (string | symbol)[] {
    return [...new Set(this.entries.map(({ event }) => event))];
  }

  private single(event: string | symbol, listener: KeyvListener): KeyvListener {
    return (...details) => {
      this.off(event, listener);
      listener(...details);
    };
  }
}
