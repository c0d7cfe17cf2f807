/** `shell`: commands from a pipe, and a session at a terminal. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { splitWords } from "../../adapters/cli/words.ts";
import { cairn, MAIN, scratchFolder } from "./tool.ts";

const scratch = scratchFolder();

describe("from a pipe", () => {
  test("runs commands, one a line", () => {
    const store = scratch("piped.cairn");
    const lines = [
      "set user:1 Ada",
      `set "user 2" '{"n": 1}'`,
      'set doc {"a":1}',
      "",
      "get user:1",
      'get "user\\u00202"',
      "get doc",
      "scan --prefix user --keys",
      "count --prefix user",
      "delete doc",
      "count",
    ];
    const run = cairn(["shell", store], lines.join("\n"));
    expect(run).toMatchObject({ status: 0, err: "" });
    expect(run.out).toBe('Ada\n{"n": 1}\n{"a":1}\n{"key":"user 2"}\n{"key":"user:1"}\n2\n2\n');
    expect(cairn(["get", store, "user 2"]).out).toBe('{"n": 1}\n');
  });

  test("goes on after errors, says each, and exits with 1", () => {
    const lines = ["nope", "get", 'get "open', "scan --limit x", "get missing", `set ${"k".repeat(3000)} v`, "count"];
    const run = cairn(["shell", scratch("errors.cairn")], lines.join("\n"));
    expect(run).toMatchObject({ status: 1, out: "0\n" });
    expect(run.err).toContain('there is no command "nope"');
    expect(run.err).toContain("missing required argument 'key'");
    expect(run.err).toContain("a quote is not closed");
    expect(run.err).toContain("whole number");
    expect(run.err).toContain('not found: "missing"');
    expect(run.err).toContain("(KEY_SIZE)");
  });

  test("tells about its commands, and leaves on exit", () => {
    const run = cairn(["shell", scratch("help.cairn")], "help\nhelp scan\nexit\nnope\n");
    expect(run).toMatchObject({ status: 0, out: "" });
    for (const word of ["delete", "count", "exit", "--prefix"]) expect(run.err).toContain(word);
    expect(run.err).not.toContain("nope");
  });
});

describe("words", () => {
  test.each([
    ["", []],
    ["  get   a:1 ", ["get", "a:1"]],
    [`set 'a b' "c\\td"`, ["set", "a b", "c\td"]],
    ['set k {"a":"b"}', ["set", "k", '{"a":"b"}']],
    [`set k it's ''`, ["set", "k", "it's", ""]],
    ['get "a\\"b"', ["get", 'a"b']],
  ])("of %j", (line, words) => {
    expect(splitWords(line)).toEqual(words);
  });

  test.each(['get "a', "get 'a", 'get "a"b', "get 'a'b", 'get "\\x"'])("of %j are refused", (line) => {
    expect(() => splitWords(line)).toThrow();
  });
});

/** util-linux's `script` gives a child a terminal. */
const hasTerminal = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0;

describe.skipIf(!hasTerminal)("at a terminal (needs script of util-linux)", () => {
  /** Types each of `keys` once what it answers to has been shown; returns all that was shown. */
  async function session(store: string, state: string, steps: [awaited: string, keys: string][]): Promise<string> {
    const command = `'${process.execPath}' '${MAIN}' shell '${store}'`;
    const environment = { ...process.env, XDG_STATE_HOME: state, TERM: "xterm" };
    const child = spawn("script", ["-qec", command, "/dev/null"], { env: environment });
    let shown = "";
    let seen = 0;
    let step = 0;
    const type = (): void => {
      const [awaited, keys] = steps[step] ?? ["", ""];
      const at = keys === "" ? -1 : shown.indexOf(awaited, seen);
      if (at < 0) return;
      seen = at + awaited.length;
      step += 1;
      child.stdin.write(keys);
      type();
    };
    child.stdout.on("data", (chunk) => {
      shown += chunk;
      type();
    });
    const timer = setTimeout(() => child.kill(), 30_000);
    await new Promise((resolve) => child.on("close", resolve));
    clearTimeout(timer);
    expect(step, `what was shown: ${shown}`).toBe(steps.length);
    return shown;
  }

  test("completes commands and keys, keeps a history, and survives Ctrl-C", async () => {
    const store = scratch("terminal.cairn");
    const state = scratch("state");
    const first = await session(store, state, [
      ["cairn> ", "set user:100 Ada\r"],
      ["cairn> ", "ge"],
      ["ge", "\t"],
      ["t ", "us"],
      ["us", "\t"],
      ["er:100", "\r"],
      ["Ada\r\n", "junk"],
      ["junk", "\x03"],
      ["^C", "exit\r"],
    ]);
    expect(first).toContain("0 keys");
    const history = scratch("state/cairn/history");
    expect(readFileSync(history, "utf8")).toBe("set user:100 Ada\nget user:100\nexit\n");
    expect(statSync(history).mode & 0o777).toBe(0o600);

    const second = await session(store, state, [
      ["cairn> ", "\x1b[A"],
      ["exit", "\x1b[A"],
      ["get user:100", "\r"],
      ["Ada\r\n", "\x04"],
    ]);
    expect(second).toContain("1 key.");
  });

  test("works without a place for its history", async () => {
    const file = scratch("no-folder");
    writeFileSync(file, "");
    await session(scratch("no-history.cairn"), file, [
      ["cairn> ", "count\r"],
      ["0\r\n", "exit\r"],
    ]);
    expect(existsSync(`${file}/cairn`)).toBe(false);
  });
});
