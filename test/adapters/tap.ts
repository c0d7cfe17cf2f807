/** The calls of `tape` that suites of others use, as tests of vitest: each of theirs is one here, with its own name. */
import { expect, test } from "vitest";

/** What a test of `tape` gets. */
export interface Tap {
  plan(count: number): void;
  end(): void;
  is(actual: unknown, expected: unknown, message?: string): void;
  isNot(actual: unknown, expected: unknown, message?: string): void;
  same(actual: unknown, expected: unknown, message?: string): void;
  ok(value: unknown, message?: string): void;
  pass(message?: string): void;
  fail(message?: string): void;
  throws(run: () => unknown, expected?: RegExp | ((error: unknown) => boolean), message?: string): void;
  doesNotThrow(run: () => unknown, message?: string): void;
}

/** `test` of `tape`. A test ends when its promise does, or by `end`, or with the last assertion that it has planned. */
export function tapTest(name: string, run: (t: Tap) => unknown): void {
  test(name, async () => {
    let planned: number | undefined;
    let count = 0;
    let finish = (): void => {};
    const ended = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const counts = (check: () => void): void => {
      count += 1;
      check();
      if (count === planned) finish();
    };
    const t: Tap = {
      plan(number) {
        planned = number;
      },
      end: () => finish(),
      is: (actual, expected, message) => counts(() => expect(actual, message).toBe(expected)),
      isNot: (actual, expected, message) => counts(() => expect(actual, message).not.toBe(expected)),
      same: (actual, expected, message) => counts(() => expect(actual, message).toStrictEqual(expected)),
      ok: (value, message) => counts(() => expect(value, message).toBeTruthy()),
      pass: () => counts(() => {}),
      fail: (message) => counts(() => expect.fail(message)),
      throws: (call, expected, message) => counts(() => checkThrown(call, expected, message)),
      doesNotThrow: (call) => counts(call),
    };
    const result = run(t);
    if (result instanceof Promise) await result;
    else await ended;
    if (planned !== undefined) expect(count, "as many assertions as were planned").toBe(planned);
  });
}

function checkThrown(call: () => unknown, expected?: RegExp | ((error: unknown) => boolean), message?: string): void {
  let thrown: unknown;
  try {
    call();
  } catch (error) {
    thrown = error;
  }
  expect(thrown, message ?? "it throws").toBeDefined();
  if (expected instanceof RegExp) expect(String(thrown)).toMatch(expected);
  // The function of a caller asserts by itself, or says whether the error is right.
  else if (typeof expected === "function") expect(expected(thrown), message).not.toBe(false);
}
