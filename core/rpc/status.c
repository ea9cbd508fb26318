/* status.c: the table that sdk/crio/types.h promises. */
#include "core/rpc/status.h"

#include <grpc/status.h>

#include "core/util/err.h"

int rpc_status_of(int code)
{
	switch (code) {
	case CRIO_OK:
		return GRPC_STATUS_OK;
	case CRIO_E_INVALID:
		return GRPC_STATUS_INVALID_ARGUMENT;
	case CRIO_E_NOT_FOUND:
		return GRPC_STATUS_NOT_FOUND;
	case CRIO_E_EXISTS:
		return GRPC_STATUS_ALREADY_EXISTS;
	case CRIO_E_PRECONDITION:
		return GRPC_STATUS_FAILED_PRECONDITION;
	case CRIO_E_EXHAUSTED:
	case CRIO_E_NOMEM:
	case CRIO_E_NOSPACE:
		return GRPC_STATUS_RESOURCE_EXHAUSTED;
	case CRIO_E_DEADLINE:
		return GRPC_STATUS_DEADLINE_EXCEEDED;
	case CRIO_E_CANCELLED:
		return GRPC_STATUS_CANCELLED;
	case CRIO_E_UNAVAILABLE:
		return GRPC_STATUS_UNAVAILABLE;
	case CRIO_E_UNSUPPORTED:
		return GRPC_STATUS_UNIMPLEMENTED;
	case CRIO_E_DENIED:
		return GRPC_STATUS_PERMISSION_DENIED;
	case CRIO_E_UNAUTHENTICATED:
		return GRPC_STATUS_UNAUTHENTICATED;
	case CRIO_E_CORRUPT:
		return GRPC_STATUS_DATA_LOSS;
	case CRIO_E_ABORTED:
		return GRPC_STATUS_ABORTED;
	default:
		return GRPC_STATUS_INTERNAL;
	}
}

const char *rpc_status_name(int status)
{
	static const char *const names[] = {
	    "OK",	"Canceled",	  "Unknown",	      "InvalidArgument",   "DeadlineExceeded",
	    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
	    "Aborted",	"OutOfRange",	  "Unimplemented",    "Internal",	   "Unavailable",
	    "DataLoss", "Unauthenticated"};

	return status >= 0 && (size_t)status < ARRAY_SIZE(names) ? names[status] : "Unknown";
}
