export * from './index.js';
import * as pubsub from './index.js';
export default pubsub;
