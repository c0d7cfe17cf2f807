/** The events that Keyv listens to, without the module of a runtime. */

// biome-ignore lint/suspicious/noExplicitAny: a listener takes what its event brings, as in Keyv's own types.
type Listener = (...details: any[]) => void;

/** A small emitter with the calls that storage adapters of Keyv have. */
export class Emitter {
  private readonly entries: { event: string | symbol; listener: Listener; raw: Listener }[] = [];

  /** Calls a listener at each event of a name. */
  on(event: string | symbol, listener: Listener): this {
    this.entries.push({ event, listener, raw: listener });
    return this;
  }

  addListener(event: string | symbol, listener: Listener): this {
    return this.on(event, listener);
  }

  prependListener(event: string | symbol, listener: Listener): this {
    this.entries.unshift({ event, listener, raw: listener });
    return this;
  }

  /** Calls a listener at the next event of a name. */
  once(event: string | symbol, listener: Listener): this {
    this.entries.push({ event, listener, raw: this.single(event, listener) });
    return this;
  }

  prependOnceListener(event: string | symbol, listener: Listener): this {
    this.entries.unshift({ event, listener, raw: this.single(event, listener) });
    return this;
  }

  /** Forgets a listener. */
  off(event: string | symbol, listener: Listener): this {
    const index = this.entries.findLastIndex((entry) => entry.event === event && entry.listener === listener);
    if (index >= 0) this.entries.splice(index, 1);
    return this;
  }

  removeListener(event: string | symbol, listener: Listener): this {
    return this.off(event, listener);
  }

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

  listenerCount(event: string | symbol): number {
    return this.rawListeners(event).length;
  }

  listeners(event: string | symbol): Listener[] {
    return this.entries.filter((entry) => entry.event === event).map(({ listener }) => listener);
  }

  rawListeners(event: string | symbol): Listener[] {
    return this.entries.filter((entry) => entry.event === event).map(({ raw }) => raw);
  }

  eventNames(): (string | symbol)[] {
    return [...new Set(this.entries.map(({ event }) => event))];
  }

  private single(event: string | symbol, listener: Listener): Listener {
    return (...details) => {
      this.off(event, listener);
      listener(...details);
    };
  }
}
