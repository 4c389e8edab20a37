/** How much data the tests move in bulk, as scripts/test-scale.mjs reads it from the environment. */
import { fileURLToPath } from 'node:url';

// The scripts are plain JavaScript, for they run before anything is installed.
const script = fileURLToPath(new URL('../../scripts/test-scale.mjs', import.meta.url));

const loaded = (await import(script)) as { testScale(env?: NodeJS.ProcessEnv): number };
export const testScale = loaded.testScale;
