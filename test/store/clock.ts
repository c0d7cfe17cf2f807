/** A wall clock that a test turns. It is what `Date.now` says to everybody, the store included. */
import { afterEach } from "vitest";

const real = Date.now;

/** See above. The runtime's own clock is back after each test. */
export class Clock {
  /** Milliseconds since 1970. */
  now: number;

  constructor(now = 1_900_000_000_000) {
    this.now = now;
    Date.now = () => this.now;
  }

  /** Turns the clock on, or back. */
  turn(ms: number): void {
    this.now += ms;
  }
}

afterEach(() => {
  Date.now = real;
});
