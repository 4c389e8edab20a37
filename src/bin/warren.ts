#!/usr/bin/env node
import { runCli } from '../cli/main.ts';
import { processIo } from '../terminal/io.ts';

const code = await runCli(process.argv.slice(2), processIo());
// The lab's commands leave theirs here themselves.
if (code !== 0) process.exitCode = code;
