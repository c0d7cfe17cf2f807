/** Globs of subscriptions, and regular expressions that mean what they mean in JavaScript and take linear time. */
import { describe, expect, test } from "vitest";
import { globMatcher } from "../../adapters/server/access/globs.ts";
import { compilePattern, compileSimplePattern } from "../../adapters/server/access/patterns.ts";
import { ServerFailure } from "../../adapters/server/failure.ts";

function isAllowed(pattern: string, key: string): boolean {
  return compilePattern(pattern, "accessPattern")(key);
}

function refusal(pattern: string): string {
  try {
    compilePattern(pattern, "accessPattern");
  } catch (error) {
    expect(error).toBeInstanceOf(ServerFailure);
    expect((error as ServerFailure).status).toBe(400);
    return (error as Error).message;
  }
  throw new Error(`${pattern} was taken`);
}

/** Numbers from 0 to below `count`, of a seed that is printed. */
function draws(): (count: number) => number {
  let state = Number(process.env["CAIRN_SEED"] ?? Date.now() % 2 ** 31) >>> 0;
  console.log(`seed ${state}`);
  return (count) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % count;
  };
}

describe("a glob", () => {
  test("is the whole key, but for its stars", () => {
    const cases: [glob: string, matching: string[], other: string[]][] = [
      ["a:1", ["a:1"], ["a:11", "xa:1", "a:", ""]],
      ["a:*", ["a:", "a:1", "a:b:c", "a:*"], ["a", "xa:1"]],
      ["*:1", [":1", "a:1", "a:b:1"], ["a:12", "1"]],
      ["a*b*c", ["abc", "a-b-c", "abbcc", "abcbc"], ["acb", "ab", "ac", "abcd"]],
      ["*", ["", "anything", "a\nb"], []],
      ["a*a", ["aa", "aba"], ["a"]],
      ["ab*ba", ["abba", "ab-ba"], ["aba"]],
      ["a**b", ["ab", "a1b"], ["a"]],
      ["a.b", ["a.b"], ["axb"]],
      ["[a-z]?", ["[a-z]?"], ["b", "b?"]],
    ];
    for (const [glob, matching, other] of cases) {
      const test = globMatcher([glob]);
      for (const key of matching) expect([glob, key, test(key)]).toEqual([glob, key, true]);
      for (const key of other) expect([glob, key, test(key)]).toEqual([glob, key, false]);
    }
  });

  test("is one of several", () => {
    const test = globMatcher(["a", "b:*", "*:z"]);
    expect(["a", "b:1", "q:z", "c", "ab:1"].map(test)).toEqual([true, true, true, false, false]);
    expect(globMatcher([])("a")).toBe(false);
  });

  test("agrees with a regular expression of the same meaning, and takes no time to speak of", () => {
    const draw = draws();
    for (let run = 0; run < 3_000; run++) {
      const text = (letters: string, size: number) =>
        Array.from({ length: draw(size) }, () => letters[draw(letters.length)]).join("");
      const glob = text("ab*:", 8);
      const key = text("ab:", 10);
      const expected = new RegExp(`^${glob.replaceAll("*", ".*")}$`, "s").test(key);
      expect([glob, key, globMatcher([glob])(key)]).toEqual([glob, key, expected]);
    }
    const start = performance.now();
    const hard = globMatcher([`${"*a".repeat(500)}*b`]);
    for (let run = 0; run < 200; run++) hard("a".repeat(2_000));
    expect(performance.now() - start).toBeLessThan(5_000);
  });
});

describe("an accessPattern", () => {
  test("is found anywhere in the key, and is a regular expression", () => {
    expect(isAllowed("sub-test-*", "sub-test-set-get-123")).toBe(true);
    expect(isAllowed("sub-test-*", "restricted-key-123")).toBe(false);
    expect(isAllowed("^ns-2:.*$", "ns-2:todos:a%2Eb")).toBe(true);
    expect(isAllowed("^ns-2:.*$", "xns-2:todos")).toBe(false);
    expect(isAllowed("^user:[0-9]+$", "user:42")).toBe(true);
    expect(isAllowed("^user:[0-9]+$", "user:42x")).toBe(false);
    expect(isAllowed("^(a|b)$", "b")).toBe(true);
    expect(isAllowed("^(a|b)$", "ab")).toBe(false);
    expect(isAllowed("^document:123$", "document:123")).toBe(true);
    expect(isAllowed("^product:*$", "product:phone:modelA")).toBe(false);
    expect(isAllowed("user", "my-user-key")).toBe(true);
  });

  test("means what it means in JavaScript, in either engine", () => {
    const pieces = [
      ..."abé1 \n\r:-_.^$|*+?{}](".split(""),
      ..."(?: (?<n> ) ) [ab] [^a] [a-c] [\\w-:] [^\\s] [\\S] [] [^] [\\]a] [-a] [a-] [\\b] [\\d-x]".split(" "),
      ..."\\d \\D \\w \\W \\s \\S \\b \\B \\. \\- \\/ \\x61 \\u0062 \\t \\0: \\cA \\z \\A \\Q \\a \\x4 \\u12".split(
        " ",
      ),
      ...["{2}", "{1,2}", "{0,}", "{,3}", "(a|b)", "(é|1:)", ".*", "\u2028", "\u00a0"],
    ];
    const letters = [..."abé1 \n\r:-_.cxzAQu{}]/4\u2028\u00a0\ufeff\u2003\u0001\0\b"];
    const draw = draws();
    const counts = { compared: 0, matched: 0, refused: 0 };
    for (let run = 0; run < 6_000; run++) {
      let pattern = draw(2) === 0 ? "^" : "";
      for (let left = 1 + draw(6); left > 0; left--) pattern += pieces[draw(pieces.length)];
      let expected: RegExp | undefined;
      try {
        expected = new RegExp(pattern);
      } catch {
        expect([pattern, refusal(pattern)]).toEqual([pattern, expect.stringContaining("accessPattern")]);
        counts.refused += 1;
        continue;
      }
      const test = compilePattern(pattern, "accessPattern");
      for (let left = 8; left > 0; left--) {
        const key = Array.from({ length: draw(6) }, () => letters[draw(letters.length)]).join("");
        const isFound = expected.test(key);
        if (test(key) !== isFound) expect([pattern, key, !isFound]).toEqual([pattern, key, isFound]);
        counts.compared += 1;
        if (isFound) counts.matched += 1;
      }
    }
    expect(counts.compared).toBeGreaterThan(10_000);
    expect(counts.matched).toBeGreaterThan(500);
    expect(counts.refused).toBeGreaterThan(100);
  });

  test("takes a character for one, however many units of UTF-16 it has", () => {
    expect(isAllowed("^.$", "😀")).toBe(true);
    expect(isAllowed("^[😀]$", "😀")).toBe(true);
    expect(isAllowed("^\\uD83D\\uDE00$", "😀")).toBe(true);
    expect(isAllowed("^(.|..)(x|)y?$", "😀")).toBe(true);
    expect(isAllowed(".*", "a\ud800")).toBe(false);
    expect(isAllowed("(a|b)*.*", "a\ud800")).toBe(false);
  });

  test("says what no linear engine has", () => {
    expect(refusal("^(?=a)")).toMatch(/lookaheads/);
    expect(refusal("(?!a)b")).toMatch(/lookaheads/);
    expect(refusal("(?<=a)b")).toMatch(/lookbehinds/);
    expect(refusal("(?<!a)b")).toMatch(/lookbehinds/);
    expect(refusal("(a)\\1")).toMatch(/back-references/);
    expect(refusal("(?<n>a)\\k<n>")).toMatch(/back-references/);
    expect(refusal("(?i:a)")).toMatch(/flags in groups/);
    expect(refusal("\\p{L}")).toMatch(/the flag u/);
    expect(refusal("\\u{1F600}")).toMatch(/the flag u/);
    expect(refusal("[")).toMatch(/^accessPattern cannot be used as a regular expression: /);
    expect(refusal("a(")).toMatch(/cannot be used/);
    expect(refusal("\\")).toMatch(/ends with \\/);
    expect(refusal("x{1001}y*")).toMatch(/repeat|large/);
    expect(refusal("(.{60}a){4}")).toMatch(/too large/);
    expect(refusal("a".repeat(513))).toMatch(/512 characters; it has 513/);
  });

  test("takes linear time where backtracking takes for ever", () => {
    const key = `${"a".repeat(500)}!`;
    const start = performance.now();
    for (const pattern of [
      "^(a+)+$",
      "^(a|aa)+$",
      "^(a*)*b",
      "(x?a)*b$",
      `^${"(a|a)".repeat(25)}b`,
      "(.*a){10}$",
      "^.*b",
    ]) {
      expect([pattern, isAllowed(pattern, key)]).toEqual([pattern, false]);
    }
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

test("patterns that every change is held against are simple ones", () => {
  const isSimple = (pattern: string) => {
    try {
      compileSimplePattern(pattern, "subscribePatterns");
      return true;
    } catch (error) {
      expect((error as ServerFailure).status).toBe(400);
      return false;
    }
  };
  expect(["^a", "^user:[0-9]+$", "^(a|b)$", "^.*$", "^x{2,3}"].map(isSimple)).not.toContain(false);
  expect(["a+", "^a+b+", "^(a+)", "^(a)+", "^(a)(b)", "^a|b", "^a+?", "^(?=a)"].map(isSimple)).not.toContain(true);
  expect(compileSimplePattern("^user:[0-9]+$", "subscribePatterns")("user:7")).toBe(true);
});
