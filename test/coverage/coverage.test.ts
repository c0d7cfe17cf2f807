/** The counters of `npm run coverage`: each way that a program goes is seen, and no other. */
import { describe, expect, test } from "vitest";
import { type Branch, compile, countersSource, instrument } from "../../scripts/coverage/instrument.mjs";
import { figures, nameOf, percentOf, reasonOf, reportText } from "../../scripts/coverage/report.mjs";

const SOURCE = `
const LIMIT: u32 = 5;
export function choose(a: u32, b: u32): u32 {
  if (a > 1 && b > 1) return 1;
  if (LIMIT > 3) a = a + 0;
  const more = a == 7 ? 2 : b;
  switch (more) {
    case 100:
    case 101:
      return 3;
    case 102:
      break;
  }
  for (let i: u32 = 0; i < b; i++) if (i == 3) return 4;
  return b && (a || more) ? 5 : 6;
}
`;

/** The names of the branches that calls take, without file and line. */
async function takenBy(calls: readonly (readonly [number, number])[]): Promise<string[]> {
  const branches: Branch[] = [];
  const text = instrument("assembly/sample.ts", SOURCE, branches, "./coverage");
  expect(text.split("\n").length).toBe(SOURCE.split("\n").length);
  const binary = await compile("/", "assembly/sample.ts", [], {
    branches,
    texts: new Map([["assembly/sample.ts", text]]),
  });
  const taken = new Set<number>();
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(binary as BufferSource), {
    env: { memory: new WebAssembly.Memory({ initial: 16, maximum: 65536 }) },
    coverage: { hit: (branch: number) => taken.add(branch) },
  });
  for (const call of calls) (exports["choose"] as (a: number, b: number) => number)(...call);
  return branches
    .filter((_, i) => taken.has(i))
    .map((branch) => nameOf(branch).replace(/^.*? choose: /, ""))
    .sort();
}

describe("counters", () => {
  test("tell what a call takes", async () => {
    expect(await takenBy([])).toEqual([]);
    expect(await takenBy([[2, 2]])).toEqual(["&& a > 1 (true)", "if a > 1 && b > 1 (true)"]);
    expect(await takenBy([[0, 0]])).toEqual(
      [
        "&& a > 1 (false)",
        "&& b (false)",
        "?: a == 7 (false)",
        "?: b && (a || more) (false)",
        "case more is none of the cases",
        "if a > 1 && b > 1 (false)",
        "loop i < b (ends)",
      ].sort(),
    );
    const many = await takenBy([
      [0, 101],
      [0, 102],
      [7, 1],
    ]);
    expect(many).toContain("case more is 101");
    expect(many).toContain("case more is 102");
    expect(many).toContain("if i == 3 (true)");
    expect(many).toContain("?: a == 7 (true)");
    expect(many).not.toContain("|| a (false)");
  });

  test("have no constants for branches", async () => {
    const branches: Branch[] = [];
    instrument("assembly/sample.ts", SOURCE, branches, "./coverage");
    expect(branches.some(({ text }) => text.includes("LIMIT"))).toBe(false);
    // Six conditions, two operands before && and ||, another before that, three cases.
    expect(branches.length).toBe(2 * 8 + 3);
    expect(countersSource(branches.length)).toContain(`memory.data(${branches.length})`);
  });
});

describe("the report", () => {
  const branch = { file: "assembly/a.ts", line: 3, inside: "f", kind: "if", text: "x" };
  const branches = [
    { ...branch, outcome: true },
    { ...branch, outcome: false },
  ];
  const reason = { file: "assembly/a.ts", inside: "f", text: "x", outcome: false, why: "because" };

  test("counts, and never says 100 % where one is missing", () => {
    const { all } = figures(branches, Uint8Array.of(1, 0));
    expect(all).toEqual({ file: "all", branches: 2, taken: 1 });
    expect(percentOf(all)).toBe("50.0 %");
    expect(percentOf({ branches: 100_000, taken: 99_999 })).toBe("99.9 %");
  });

  test("names what is missing, apart from what has a reason, and reasons that nothing needs", () => {
    expect(reasonOf(branches[1] as Branch, [reason])).toBe(reason);
    expect(reasonOf(branches[0] as Branch, [reason])).toBeUndefined();
    expect(reportText(branches, Uint8Array.of(1, 0), [])).toContain("assembly/a.ts:3 f: if x (false)");
    const explained = reportText(branches, Uint8Array.of(1, 0), [reason]);
    expect(explained).toContain("without a reason: 0");
    expect(reportText(branches, Uint8Array.of(1, 1), [reason])).toContain("with a reason: assembly/a.ts f: x");
  });
});
