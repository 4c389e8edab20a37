#!/usr/bin/env node
/** `warren wireguard` as a program of its own: wg-quick(8) takes one name, without arguments. */
import { runProgram } from '../wireguard-device/program.ts';

const code = await runProgram(process.argv.slice(2), {
  env: process.env,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
});
// A background process goes on; nothing of it may keep this one.
process.exit(code);
