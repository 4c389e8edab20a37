import { defineConfig } from 'vitest/config';

// Four projects: `unit` (fuzzing included), `cluster` (whole agents in one process) and `sim` need nothing but Node; `e2e` needs root, network namespaces and the
// build in dist/ (it starts real agents), and runs one file at a time because its labs share the machine.
export default defineConfig({
  test: {
    projects: [
      // Random tests take seconds where other programs take the processor.
      { test: { name: 'unit', include: ['test/{unit,fuzz}/**/*.test.ts'], testTimeout: 30_000 } },
      { test: { name: 'cluster', include: ['test/cluster/**/*.test.ts'], testTimeout: 60_000 } },
      { test: { name: 'sim', include: ['test/sim/**/*.test.ts'], testTimeout: 120_000 } },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
