/** JSON as text: checked, and laid out without a number or an escape being changed. */

/** What is wrong with a text as JSON; `undefined`: nothing. */
export function faultOf(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Whether a text is a JSON object or array, which people rather see as such. */
export function isDocument(text: string): boolean {
  return /^\s*[[{]/.test(text) && faultOf(text) === undefined;
}

/** Strings, marks, and all else between marks and white space, one at a time. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g;

/** Valid JSON, a member a line: the tokens as they are, so that numbers of any length stay what they were. */
export function laidOut(text: string): string {
  let out = "";
  let depth = 0;
  let before = "";
  const line = (): string => `\n${"  ".repeat(depth)}`;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "}" || token === "]") {
      depth--;
      out += before === "{" || before === "[" ? token : line() + token;
    } else {
      if (before === "{" || before === "[" || before === ",") out += line();
      out += token === ":" ? ": " : token;
      if (token === "{" || token === "[") depth++;
    }
    before = token;
  }
  return out;
}
