/** A packet path thread that the kernel does not let run: what the agent says of it, and how it ends. */
import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { overlayEndpoints, ping } from '../helpers/overlay-endpoints.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { FrozenThread, NO_FREEZER, threadOf } from '../helpers/thread-freezer.ts';
