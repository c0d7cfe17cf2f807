import type { Report, Table } from "./report.ts";
export function pageOf(report: Report, tables: readonly Table[]): string {
  return `${report.startedAt}${tables.length}`;
}
