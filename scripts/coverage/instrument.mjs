/**
 * The engine's sources with a counter at each branch. A branch is one outcome of a place where the program goes on in
 * one way or another:
 *
 * - a condition of `if`, `?:`, `while`, `do` or `for`: true, and false;
 * - an operand left of `&&` or `||`: true, and false, since one of them leaves the rest out;
 * - each body of a `switch`, and none of its cases where it has no default.
 *
 * Conditions over constants alone are none: the compiler decides them. A body that is `unreachable()` alone is an
 * assertion, as `assert` is, and no branch. All stays in its line, so that what the compiler says of the sources holds.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as assemblyscript from "assemblyscript";
import { main } from "assemblyscript/asc";

/** Sources that are no part of the product: the entry point of the unit tests. */
const NOT_COUNTED = new Set(["assembly/units.ts"]);
/** Stands for a source that only this build has: the counters. */
const COUNTERS = "coverage";

/**
 * @typedef {object} Branch
 * @property {string} file relative to the repository
 * @property {number} line
 * @property {string} inside the function that it stands in
 * @property {string} kind `if`, `?:`, `loop`, `&&`, `||`, `case`
 * @property {string} text the condition, or the label of the case, on one line
 * @property {boolean} outcome which way; true for a case
 */

/**
 * @typedef {object} Instrumented
 * @property {Branch[]} branches a branch's place here is its number
 * @property {Map<string, string>} texts what each file of the engine is compiled from
 */

/**
 * All of `assembly/` with counters.
 *
 * @param {string} root the repository
 * @returns {Instrumented}
 */
export function instrumentAll(root) {
  /** @type {Branch[]} */
  const branches = [];
  const texts = new Map();
  const names = readdirSync(join(root, "assembly"), { recursive: true, encoding: "utf8" });
  for (const name of names.filter((each) => each.endsWith(".ts")).sort()) {
    const file = `assembly/${name.replaceAll("\\", "/")}`;
    if (NOT_COUNTED.has(file)) continue;
    const text = readFileSync(join(root, file), "utf8");
    const up = "../".repeat(file.split("/").length - 2) || "./";
    texts.set(file, instrument(file, text, branches, up + COUNTERS));
  }
  return { branches, texts };
}

/**
 * One source with counters, whose branches are added to `branches`.
 *
 * @param {string} file
 * @param {string} text
 * @param {Branch[]} branches
 * @param {string} counters what the counters are imported from
 */
export function instrument(file, text, branches, counters) {
  const program = assemblyscript.newProgram(assemblyscript.newOptions());
  assemblyscript.parse(program, text, file, true);
  const source = program.sources.find((each) => each.text === text);
  if (source === undefined) throw new Error(`${file} was not parsed`);
  const walk = new Walk(file, text, branches);
  for (const statement of source.statements) walk.visit(/** @type {any} */ (statement));
  return `import { branch as __branch, arm as __arm } from "${counters}";${walk.apply()}`;
}

/** A walk over the nodes of one source. The compiler's classes are looked at, not its minified names. */
class Walk {
  /** @type {{ at: number, text: string }[]} */
  insertions = [];
  /** What the parent of a node wants of it. @type {Map<object, string>} */
  wanted = new Map();
  /** Operators that belong to the chain of the one above. @type {Set<object>} */
  chained = new Set();
  inside = "";

  /**
   * @param {string} file
   * @param {string} text
   * @param {Branch[]} branches
   */
  constructor(file, text, branches) {
    this.file = file;
    this.text = text;
    this.branches = branches;
  }

  /** @param {any} node */
  visit(node) {
    const outer = this.inside;
    if (node instanceof assemblyscript.FunctionDeclaration) this.inside = node.name.text;
    if (this.inside !== "") this.look(node);
    const kind = this.wanted.get(node);
    if (kind !== undefined) this.insertions.push({ at: node.range.start, text: "__branch(" });
    for (const child of childrenOf(node)) this.visit(child);
    if (kind !== undefined) {
      const taken = this.add(node, kind, this.textOf(node), true);
      const not = this.add(node, kind, this.textOf(node), false);
      this.insertions.push({ at: node.range.end, text: `, ${taken}, ${not})` });
    }
    this.inside = outer;
  }

  /**
   * Says of a node's conditions that they are branches.
   *
   * @param {any} node
   */
  look(node) {
    if (node instanceof assemblyscript.IfStatement) this.want(node.condition, "if");
    else if (node instanceof assemblyscript.TernaryExpression) this.want(node.condition, "?:");
    else if (node instanceof assemblyscript.WhileStatement) this.want(node.condition, "loop");
    else if (node instanceof assemblyscript.DoStatement) this.want(node.condition, "loop");
    else if (node instanceof assemblyscript.ForStatement) this.want(node.condition, "loop");
    else if (node instanceof assemblyscript.SwitchStatement) this.lookAtCases(node);
    else if (node instanceof assemblyscript.BinaryExpression) this.lookAtChain(node);
  }

  /** @param {any} node */
  lookAtChain(node) {
    const operator = this.operatorOf(node);
    if (operator === undefined || this.chained.has(node)) return;
    for (let left = node.left; ; left = left.left) {
      if (this.operatorOf(left) !== operator) {
        this.want(left, operator);
        return;
      }
      this.chained.add(left);
      this.want(left.right, operator);
    }
  }

  /** @param {any} node */
  lookAtCases(node) {
    let hasDefault = false;
    for (const each of node.cases) {
      hasDefault ||= each.label === null;
      const [first] = each.statements;
      if (first === undefined) continue;
      if (/^unreachable\(\);?$/.test(this.textOf(first))) continue;
      const label = each.label === null ? "default" : this.textOf(each.label);
      const id = this.add(each, "case", `${this.textOf(node.condition)} is ${label}`, true);
      this.insertions.push({ at: first.range.start, text: `__arm(${id}); ` });
    }
    if (hasDefault) return;
    const id = this.add(node, "case", `${this.textOf(node.condition)} is none of the cases`, true);
    // Kept until the statements before it have theirs: the end of the node lies behind them.
    this.insertions.push({ at: node.range.end - 1, text: `break; default: __arm(${id}); ` });
  }

  /**
   * @param {any} node
   * @param {string} kind
   */
  want(node, kind) {
    if (node && !isConstant(node)) this.wanted.set(node, kind);
  }

  /**
   * `&&` or `||`, if the node is one.
   *
   * @param {any} node
   */
  operatorOf(node) {
    if (!(node instanceof assemblyscript.BinaryExpression)) return undefined;
    const between = this.text.slice(node.left.range.end, node.right.range.start);
    return /^\s*(&&|\|\|)/.exec(between)?.[1];
  }

  /**
   * @param {any} node
   * @param {string} kind
   * @param {string} text
   * @param {boolean} outcome
   */
  add(node, kind, text, outcome) {
    const line = this.text.slice(0, node.range.start).split("\n").length;
    this.branches.push({ file: this.file, line, inside: this.inside, kind, text, outcome });
    return this.branches.length - 1;
  }

  /** @param {any} node */
  textOf(node) {
    return this.text.slice(node.range.start, node.range.end).replaceAll(/\s+/g, " ");
  }

  /** The source with all insertions. At one place they stand in the order in which they were made. */
  apply() {
    let out = "";
    let from = 0;
    for (const { at, text } of this.insertions.toSorted((a, b) => a.at - b.at)) {
      out += this.text.slice(from, at) + text;
      from = at;
    }
    return out + this.text.slice(from);
  }
}

/**
 * The nodes right below a node.
 *
 * @param {any} node
 * @returns {any[]}
 */
function childrenOf(node) {
  return Object.entries(node)
    .filter(([name]) => name !== "range")
    .flatMap(([, value]) => value)
    .filter((value) => value instanceof assemblyscript.Node);
}

/**
 * Whether the compiler knows what an expression is: literals, constants by their names, sizes and places of fields.
 *
 * @param {any} node
 * @returns {boolean}
 */
function isConstant(node) {
  if (node instanceof assemblyscript.TrueExpression || node instanceof assemblyscript.FalseExpression) return true;
  if (node instanceof assemblyscript.IdentifierExpression) return /^[A-Z][A-Z0-9_]*$/.test(node.text);
  if (node instanceof assemblyscript.PropertyAccessExpression) return /^[A-Z][A-Z0-9_]*$/.test(node.property.text);
  if (node instanceof assemblyscript.LiteralExpression) return true;
  if (node instanceof assemblyscript.CallExpression) {
    const { expression } = /** @type {any} */ (node);
    return ["offsetof", "sizeof", "alignof", "isDefined"].includes(expression.text);
  }
  if (node instanceof assemblyscript.BinaryExpression) return isConstant(node.left) && isConstant(node.right);
  if (node instanceof assemblyscript.UnaryPrefixExpression) return isConstant(node.operand);
  if (node instanceof assemblyscript.ParenthesizedExpression) return isConstant(node.expression);
  return node instanceof assemblyscript.AssertionExpression && isConstant(node.expression);
}

/**
 * A source of the counters: the first time that a branch is taken over a memory, the host hears of it.
 *
 * @param {number} count
 */
export function countersSource(count) {
  return `// @ts-ignore: decorator
@external("coverage", "hit")
declare function hit(branch: i32): void;
const TAKEN: usize = memory.data(${count});

export function branch<T>(condition: T, taken: i32, not: i32): T {
  arm(condition ? taken : not);
  return condition;
}

export function arm(branch: i32): void {
  if (load<u8>(TAKEN + branch)) return;
  store<u8>(TAKEN + branch, 1);
  hit(branch);
}
`;
}

/**
 * Compiles an entry point of the engine with counters, optimised as far as makes it quick.
 *
 * @param {string} root
 * @param {string} entry
 * @param {string[]} options of the compiler, as `--target`
 * @param {Instrumented} instrumented
 * @returns {Promise<Uint8Array>}
 */
export async function compile(root, entry, options, { branches, texts }) {
  /** @type {Uint8Array | undefined} */
  let binary;
  const { error, stderr } = await main(
    [
      entry,
      ...options,
      "--optimizeLevel",
      "2",
      "--shrinkLevel",
      "0",
      "--debug",
      "--outFile",
      "out.wasm",
      "--textFile",
      "",
    ],
    {
      readFile(name, base) {
        const file = join(base, name).replaceAll("\\", "/");
        if (file === `assembly/${COUNTERS}.ts`) return countersSource(branches.length);
        try {
          return texts.get(file) ?? readFileSync(join(root, file), "utf8");
        } catch {
          return null;
        }
      },
      writeFile(name, contents) {
        if (name.endsWith("out.wasm") && typeof contents !== "string") binary = contents;
      },
      listFiles: () => [],
    },
  );
  if (error !== null || binary === undefined) throw new Error(`${entry} with counters does not compile:\n${stderr}`);
  return binary;
}
