/**
 * Preloaded by `NODE_OPTIONS=--require`: makes V8 print a line for each garbage collection, and lets each thread
 * say which of the lines are its own. V8 names an isolate by its address, which JavaScript cannot ask for; so a
 * thread says its number, collects once, and the line in between is that isolate's.
 *
 * (`--trace-gc` itself is not allowed in NODE_OPTIONS, and a PerformanceObserver would need the event loop, which
 * a packet path thread never returns to.)
 */
const { writeSync } = require('node:fs');
const { setFlagsFromString } = require('node:v8');
const { runInNewContext } = require('node:vm');
const { threadId } = require('node:worker_threads');

setFlagsFromString('--trace-gc');
setFlagsFromString('--expose-gc');
writeSync(1, `gc-thread-${threadId}-begin\n`);
runInNewContext('gc')();
writeSync(1, `gc-thread-${threadId}-end\n`);
