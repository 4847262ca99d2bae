"""Every RPC that changes something: what it needs to know, in rounds, and the rule that decides it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.identity import Caller
from orchestrator.needs import Needs
from orchestrator.rules import assets, data, functions, outputs, registration, task_actions
from orchestrator.state import Decision, Known, Moment
from protos.orchestrator.failure_report_pb2 import FAILED_ASSET_FUNCTION

Round = Callable[[Any, Known, Needs], None]
Rule = Callable[[Known, Caller, Any, Moment], Decision]


@dataclass(frozen=True, slots=True)
class Command:
    rule: Rule
    rounds: tuple[Round, ...] = ()
    sweeps: Callable[[Any], bool] = lambda request: False
    """Whether the request looks for rows by another column than their key: it then opens a group of its own,
    for what earlier requests of a group changed is not in the tables yet."""


COMMANDS: dict[str, Command] = {
    "OrganizationService/RegisterOrganization": Command(assets.register_organization),
    "FunctionService/RegisterFunction": Command(
        functions.register_function, (functions.register_function_needs,)
    ),
    "FunctionService/UpdateFunction": Command(
        functions.update_function, (functions.update_function_needs,)
    ),
    "FunctionService/ApplyFunctionAction": Command(
        functions.apply_function_action,
        (functions.function_action_needs, functions.function_action_plans),
        sweeps=lambda request: True,
    ),
    "DataManagerService/RegisterDataManager": Command(
        data.register_data_manager, (data.register_data_manager_needs,)
    ),
    "DataManagerService/UpdateDataManager": Command(
        data.update_data_manager, (data.update_data_manager_needs,)
    ),
    "DataSampleService/RegisterDataSamples": Command(
        data.register_data_samples, (data.register_data_samples_needs,)
    ),
    "DataSampleService/UpdateDataSamples": Command(
        data.update_data_samples, (data.update_data_samples_needs,)
    ),
    "ComputePlanService/RegisterPlan": Command(assets.register_plan, (assets.register_plan_needs,)),
    "ComputePlanService/UpdatePlan": Command(assets.update_plan, (assets.plan_needs,)),
    "ComputePlanService/ApplyPlanAction": Command(assets.apply_plan_action, (assets.plan_needs,)),
    "ComputeTaskService/RegisterTasks": Command(
        registration.register_tasks,
        (registration.register_tasks_needs, registration.register_tasks_assets),
    ),
    "ComputeTaskService/ApplyTaskAction": Command(
        task_actions.apply_task_action,
        (task_actions.task_action_needs, task_actions.task_action_plan),
    ),
    "ComputeTaskService/DisableOutput": Command(
        outputs.disable_output, (outputs.disable_output_needs, outputs.disable_output_models)
    ),
    "ModelService/RegisterModel": Command(
        outputs.register_model, (outputs.register_model_needs, outputs.register_model_function)
    ),
    "ModelService/RegisterModels": Command(
        outputs.register_models, (outputs.register_models_needs, outputs.register_models_functions)
    ),
    "PerformanceService/RegisterPerformance": Command(
        outputs.register_performance,
        (outputs.register_performance_needs, outputs.register_performance_function),
    ),
    "FailureReportService/RegisterFailureReport": Command(
        task_actions.register_failure_report,
        (task_actions.failure_report_needs, task_actions.failure_report_plans),
        sweeps=lambda request: bool(request.asset_type == FAILED_ASSET_FUNCTION),
    ),
    "ProfilingService/RegisterProfilingStep": Command(assets.register_profiling_step),
}
