/**
 * CSV with a header row.
 *
 * A row's value is a JSON object of all its cells, or one cell. Broken quoting ends the reading: where the next row begins
 * cannot be told any more.
 */
import { once } from "node:events";
import { parse } from "csv-parse";
import { CommandFailure } from "./failure.ts";
import { type FieldNames, type Row, rowOf, withoutByteOrderMark } from "./rows.ts";
import { bytesOf, textOf } from "./text.ts";

/** A longer row ends the reading: it bounds the memory of a file whose quote is never closed. */
const ROW_SIZE_MAX = 128 * 1024 * 1024;

/** Reads the rows of `chunks`. */
export async function* readCsv(
  chunks: AsyncIterable<Uint8Array>,
  fields: FieldNames,
  delimiter: string,
): AsyncGenerator<Row[]> {
  let columns: string[] | undefined;
  let rows: Row[] = [];
  const parser = parse({
    // A character of a cell is a byte of it, since the parser's decoding of UTF-8 would replace what is not UTF-8.
    encoding: "latin1",
    delimiter: Buffer.from(delimiter),
    max_record_size: ROW_SIZE_MAX,
    relax_column_count: true,
    skip_empty_lines: true,
    // Rows are taken here, none is passed on: those of a chunk that ends in an error are not lost in the stream.
    on_record: (record, { lines }) => {
      if (columns) rows.push(rowOfRecord(lines, record, columns, fields));
      else columns = columnsOf(record, fields);
      return null;
    },
  });
  let failure: Error | undefined;
  parser.on("error", (error) => {
    failure = error;
  });
  parser.resume();

  for await (const chunk of withoutByteOrderMark(chunks)) {
    await new Promise<void>((resolve) => parser.write(chunk, () => resolve()));
    yield rows;
    rows = [];
    if (failure) throw failureOf(failure);
  }
  parser.end();
  await once(parser, "close");
  yield rows;
  if (failure) throw failureOf(failure);
  if (!columns) throw new CommandFailure("the CSV has no header row");
}

function failureOf(error: Error): Error {
  return "code" in error && String(error.code).startsWith("CSV_")
    ? new CommandFailure(`the CSV cannot be read on: ${error.message}`)
    : error;
}

function columnsOf(record: string[], fields: FieldNames): string[] {
  const columns = record.map(textOfCell);
  if (columns.includes(undefined)) throw new CommandFailure("the CSV's header row is not UTF-8");
  const twice = columns.find((column, index) => columns.indexOf(column) !== index);
  if (twice !== undefined) throw new CommandFailure(`the CSV's header has the column ${JSON.stringify(twice)} twice`);
  for (const field of [fields.key, fields.value]) {
    if (field === undefined || columns.includes(field)) continue;
    const names = columns.map((column) => JSON.stringify(column)).join(", ");
    throw new CommandFailure(`the CSV has no column ${JSON.stringify(field)}; its columns are ${names}`);
  }
  return columns as string[];
}

/** `lastLine` is the line on which the record ends. A fault names the one on which it begins. */
function rowOfRecord(lastLine: number, record: string[], columns: string[], fields: FieldNames): Row {
  const row = readRecord(lastLine, record, columns, fields);
  if ("fault" in row) row.line -= record.reduce((count, cell) => count + lineBreakCount(cell), 0);
  return row;
}

function readRecord(line: number, record: string[], columns: string[], fields: FieldNames): Row {
  if (record.length !== columns.length) {
    return { line, fault: `it has ${record.length} cells where the header has ${columns.length}` };
  }
  const cells = record.map(textOfCell);
  if (cells.includes(undefined)) return { line, fault: "it is not UTF-8" };
  const key = cells[columns.indexOf(fields.key)];
  const value =
    fields.value === undefined
      ? JSON.stringify(Object.fromEntries(columns.map((column, index) => [column, cells[index]])))
      : (cells[columns.indexOf(fields.value)] as string);
  return rowOf(line, fields.key, key, bytesOf(value));
}

function lineBreakCount(cell: string): number {
  return cell.split("\n").length - 1;
}

/** The text of a cell whose characters are bytes; `undefined` when they are not UTF-8. */
function textOfCell(cell: string): string | undefined {
  return /^[\0-\x7f]*$/.test(cell) ? cell : textOf(Buffer.from(cell, "latin1"));
}
