/**
 * How much data the end-to-end tests move in bulk: WARREN_TEST_SCALE times 2 GB, a whole number from 1 (the
 * default) to 100. Node built-ins only.
 */
const MOST = 100;

/** The scale that the environment asks for. Throws on anything that is not one. */
export function testScale(env = process.env) {
  const text = env.WARREN_TEST_SCALE ?? '1';
  const scale = Number(text);
  if (!/^\d+$/.test(text) || scale < 1 || scale > MOST) {
    throw new Error(`WARREN_TEST_SCALE must be a whole number from 1 to ${MOST}, not "${text}"`);
  }
  return scale;
}
