/**
 * What the checks know of source text: which files there are, and the text without comments and literals.
 */
import { existsSync, readdirSync } from "node:fs";

/**
 * The source files of the given folders, as paths relative to `root` with forward slashes, sorted.
 *
 * @param {URL} root the repository's root, ending in a slash
 * @param {string[]} folders top folders; those that do not exist are skipped
 */
export function sourceFiles(root, folders) {
  const files = [];
  for (const folder of folders) {
    const url = new URL(`${folder}/`, root);
    if (!existsSync(url)) continue;
    for (const entry of readdirSync(url, { recursive: true, encoding: "utf8" })) {
      const path = `${folder}/${entry.replaceAll("\\", "/")}`;
      if (/\.(ts|mts|js|mjs)$/.test(path) && !path.includes("/node_modules/")) files.push(path);
    }
  }
  return files.sort();
}

/** Comments, and literals that may hold anything; a template with substitutions counts as one literal. */
const TOKEN = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\[\s\S])*`/g;

/**
 * The text with its comments blanked out, and its literals too unless they are kept. Lines keep their numbers.
 *
 * @param {string} text
 * @param {{ literals: "keep" | "blank" }} options
 */
export function withoutComments(text, { literals }) {
  return text.replace(TOKEN, (token) => {
    const isComment = token.startsWith("//") || token.startsWith("/*");
    return isComment || literals === "blank" ? token.replace(/[^\n]/g, " ") : token;
  });
}

/**
 * The line, counted from 1, of an offset in a text.
 *
 * @param {string} text
 * @param {number} offset
 */
export function lineOf(text, offset) {
  return text.slice(0, offset).split("\n").length;
}
