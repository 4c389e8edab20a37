/**
 * zod, told not to compile what it checks: that pays after hundreds of checks of one shape, and an agent makes one of its
 * configuration and one of each state file, at its start.
 */
import { z } from 'zod';

z.config({ jitless: true });

export { z };
