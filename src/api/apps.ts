/** All that is loaded with the first request, as one entry of the build. */
export { controlApp } from './control-app.ts';
export { tcpApp } from './tcp-app.ts';
