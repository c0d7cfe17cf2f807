/** Regular expressions of tokens: JavaScript's syntax, found anywhere in a key, in time linear in the key. */
import { RE2JS } from "re2js";
import { ServerFailure } from "../failure.ts";

const PATTERN_SIZE_MAX = 512;

/** Whether a key holds what `pattern` describes. 400 for one that is none, or that no linear engine runs; `field` names it. */
export function compilePattern(pattern: string, field: string): (key: string) => boolean {
  if (pattern.length > PATTERN_SIZE_MAX) {
    throw new ServerFailure(400, `${field} may have ${PATTERN_SIZE_MAX} characters; it has ${pattern.length}.`);
  }
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
  } catch (error) {
    throw new ServerFailure(400, `${field} is no regular expression that can be used: ${(error as Error).message}`);
  }
  return (key) => compiled.test(key);
}
