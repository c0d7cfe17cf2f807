/**
 * Why branches of the engine are not taken by the tests. What stands here and is taken by now is named by the report.
 *
 * A reason is true of each branch of its group, or the branch has none: then a test is missing.
 */
import engine from "./reasons-engine.mjs";
import log from "./reasons-log.mjs";
import verify from "./reasons-verify.mjs";

/**
 * @typedef {object} Reason
 * @property {string} file
 * @property {string} inside the function
 * @property {string} text the condition, or the case, as the report has it
 * @property {boolean} [outcome] one way only
 * @property {string} why
 *
 * @typedef {object} Group branches with the same reason
 * @property {string} why
 * @property {readonly (readonly [file: string, inside: string, text: string, outcome: boolean])[]} branches
 */

/** @type {Reason[]} */
export const REASONS = [...engine, ...log, ...verify].flatMap(({ why, branches }) =>
  branches.map(([file, inside, text, outcome]) => ({ file, inside, text, outcome, why })),
);
