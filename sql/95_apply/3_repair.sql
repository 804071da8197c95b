select pgembedd_internal._repair();
