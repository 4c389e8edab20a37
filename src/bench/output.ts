/** The files that a run leaves: all figures as JSON, and a page with plots. */
import { accessSync, constants, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { errorMessage, WarrenError } from '../errors.ts';
import { renderPage } from './page.ts';
import type { BenchReport } from './report.ts';

/** In the working folder; made when there is something to write. */
const FOLDER = 'bench-results';

export interface OutputFiles {
  readonly json: string;
  readonly html: string;
}

/** Where a run's files go, unless `--json` or `--html` say otherwise. */
export function outputFiles(chosen: { readonly json?: string; readonly html?: string }): OutputFiles {
  return {
    json: chosen.json ?? join(FOLDER, 'report.json'),
    html: chosen.html ?? join(FOLDER, 'report.html'),
  };
}

/** That a file cannot be written must not show after half an hour. */
export function checkWritable({ json, html }: OutputFiles): void {
  for (const file of [json, html]) {
    const folder = dirname(file);
    try {
      accessSync(resolve(folder === FOLDER && !existsSync(resolve(folder)) ? '.' : folder), constants.W_OK);
    } catch (error) {
      throw unwritable(file, error);
    }
  }
}

export function writeReport(report: BenchReport, { json, html }: OutputFiles): void {
  write(json, `${JSON.stringify(report, null, 2)}\n`);
  write(html, renderPage(report));
}

function write(file: string, text: string): void {
  try {
    if (dirname(file) === FOLDER) mkdirSync(FOLDER, { recursive: true });
    writeFileSync(file, text);
  } catch (error) {
    throw unwritable(file, error);
  }
}

function unwritable(file: string, cause: unknown): WarrenError {
  return new WarrenError('BENCH_OUTPUT_FAILED', `cannot write ${file}: ${errorMessage(cause)}`, {
    hint: 'Give --json and --html files in a folder that exists and that this user may write to.',
    cause,
  });
}
