/** The web page of an agent: shows what the agent knows, and changes nothing. */
import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import './style.css';
import { App } from './view/app.tsx';
import { applyTheme, storedTheme } from './view/theme.ts';

applyTheme(storedTheme());
const page = document.getElementById('page')!;
page.textContent = '';
render(<App />, page);
