/** Why branches of the engine are not taken by the tests. What stands here and is taken by now is named by the report. */

/**
 * @typedef {object} Reason
 * @property {string} file
 * @property {string} inside the function
 * @property {string} text the condition, or the case, as the report has it
 * @property {boolean} [outcome] one way only
 * @property {string} why
 */

/** @type {Reason[]} */
export const REASONS = [];
